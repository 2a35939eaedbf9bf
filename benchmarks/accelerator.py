"""For whoever has a GPU or a TPU: is it right, and how fast is it?

    python benchmarks/accelerator.py --out accelerator.json                      # TensorFlow
    KERAS_BACKEND=jax python benchmarks/accelerator.py --out accelerator.json    # JAX
    python benchmarks/accelerator.py --small                                     # on a CPU, to see that it runs

1. Right: SimCLR and a masked autoencoder, small, in float32: the weights after ten steps on the accelerator against
   those on the CPU of the same machine, from the same weights, views and masks.
2. Fast: images per second of masked autoencoding with ViT-Base (16-pixel patches, a decoder of 8 blocks of 512) and of
   SimCLR with ResNet-50, at 224 pixels in mixed bfloat16, the same pictures again and again, so that no input limits.
   Operations are counted from the layers (a multiplication and an addition are two; backward twice as many as forward);
   the share of the peak is against the published dense bfloat16 figure below, or `--peak-tflops`.

It takes all devices that `placement.strategy("auto")` finds; the share of the peak is of all of them together.
"""

import argparse
import contextlib
import json
import math
import platform
import time

import keras
import numpy as np

import tftransfer as tt

# Dense bfloat16, 10¹² operations per second and chip, by a part of the device's name; the first that fits counts.
# NVIDIA's product pages and data sheets give figures with sparsity, twice these.
PEAKS = (
    ("H100 PCIe", 756, "https://www.nvidia.com/en-us/data-center/h100/"),
    ("H100", 989, "https://www.nvidia.com/en-us/data-center/h100/"),
    ("H200", 989, "https://www.nvidia.com/en-us/data-center/h200/"),
    ("A100", 312, "https://www.nvidia.com/en-us/data-center/a100/"),
    ("L40S", 362, "https://www.nvidia.com/en-us/data-center/l40s/"),
    ("L4", 121, "https://www.nvidia.com/en-us/data-center/l4/"),
    ("A10G", 70, "https://www.nvidia.com/en-us/data-center/products/a10-gpu/"),
    ("TPU v6 lite", 918, "https://cloud.google.com/tpu/docs/v6e"),
    ("TPU v5 lite", 197, "https://cloud.google.com/tpu/docs/v5e"),
    ("TPU v5e", 197, "https://cloud.google.com/tpu/docs/v5e"),
    ("TPU v5", 459, "https://cloud.google.com/tpu/docs/v5p"),
    ("TPU v4", 275, "https://cloud.google.com/tpu/docs/v4"),
    ("TPU v3", 123, "https://cloud.google.com/tpu/docs/v3"),
)
STEPS = 10  # of the comparison


def device_names():
    """Names of the devices that train, as the backend gives them."""
    if keras.backend.backend() == "jax":
        import jax

        return [device.device_kind for device in jax.devices()]
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]
    return details or ["TPU" if tf.config.list_logical_devices("TPU") else "CPU"]


def peak_of(names, given):
    """Operations per second of all devices together, and where that stands; None where it is not known."""
    if given:
        return given * 1e12 * len(names), "--peak-tflops"
    for part, tflops, source in PEAKS:
        if part in names[0]:
            return tflops * 1e12 * len(names), source
    return None, None


# Right


@contextlib.contextmanager
def in_full_precision():
    """float32 products as they are written, without TF32 and its like."""
    if keras.backend.backend() == "jax":
        import jax

        with jax.default_matmul_precision("highest"):
            yield
        return
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(True)


def small(name):
    if name == "SimCLR":
        return tt.objectives.SimCLR(tt.backbones.cnn((16, 16, 3), filters=(16, 32)), temperature=0.5)
    backbone = tt.backbones.vit((16, 16, 3), patch_size=4, width=32, depth=2, num_heads=2)
    return tt.objectives.MaskedAutoencoder(backbone)


def small_batch(name, rows=64):
    random = np.random.default_rng(0)
    if name == "SimCLR":
        return {f"view_{i}": random.random((rows, 16, 16, 3), "float32") for i in (1, 2)}
    order = np.argsort(random.random((rows, 16)), axis=1).astype("int32")
    return {"pictures": random.random((rows, 16, 16, 3), "float32"), "order": order}


def ten_steps(name, strategy, start=None):
    """Weights at the start and after ten steps under a strategy."""
    with strategy.scope():
        objective = small(name)
        if start is not None:
            objective.set_weights(start)
        start = objective.get_weights()
        objective.compile(keras.optimizers.SGD(0.01, momentum=0.9))
        objective.fit(small_batch(name), batch_size=32, epochs=STEPS // 2, shuffle=False, verbose=0)
    return start, objective.get_weights()


def comparison(name, strategy):
    """How far the accelerator's weights are from the CPU's."""
    keras.utils.set_random_seed(0)
    start, expected = ten_steps(name, tt.placement.strategy("cpu", verbose=False))
    _, got = ten_steps(name, strategy, start)

    def far(a, b):
        return max(float(np.abs(x - y).max()) for x, y in zip(a, b, strict=True))

    moved, apart = far(start, expected), far(expected, got)
    return {"moved": moved, "apart": apart, "agrees": bool(apart <= max(1e-5, 1e-3 * moved))}


# Fast


def forward_flops(layer, rows=1):
    """Operations of a forward pass of one example, from the shapes of the layers with kernels.

    Args:
        layer: a model or layer.
        rows: how often a Dense or attention layer is applied to an example (its tokens).
    """
    if isinstance(layer, keras.layers.Dense):
        return 2 * rows * math.prod(layer.kernel.shape)
    if isinstance(layer, keras.layers.Conv2D):
        return 2 * math.prod(layer.output.shape[1:3]) * math.prod(layer.kernel.shape)
    if isinstance(layer, tt.layers.TransformerBlock):
        width = layer.attention.projection.kernel.shape[0]
        dense = (layer.attention.qkv, layer.attention.projection, layer.mlp_1, layer.mlp_2)
        return sum(forward_flops(part, rows) for part in dense) + 4 * rows**2 * width
    parts = layer.layers if isinstance(layer, keras.Model) else []
    return sum(forward_flops(part, rows) for part in parts)


def training_flops(objective):
    """Operations of a training step for one picture: forward, and twice as many backward."""
    if isinstance(objective, tt.objectives.SimCLR):
        return 3 * 2 * (forward_flops(objective.backbone) + forward_flops(objective.projector))
    embedder, trunk = (objective.backbone.get_layer(name) for name in ("embedder", "trunk"))
    tokens, width = embedder.output_shape[1:]
    decoder = objective.decoder
    embedding = (
        2 * tokens * width * decoder.values
    )  # patches to tokens; a patch has as many values as are predicted
    decoding = (
        forward_flops(decoder.embed, objective.visible)
        + sum(forward_flops(block, tokens) for block in decoder.blocks)
        + forward_flops(decoder.pixels, tokens)
    )
    return 3 * (embedding + forward_flops(trunk, objective.visible) + decoding)


def large(name, tiny):
    side = 32 if tiny else 224
    if name == "SimCLR":
        backbone = tt.backbones.cnn((side, side, 3)) if tiny else tt.backbones.resnet50((side, side, 3))
        return tt.objectives.SimCLR(backbone), side
    size = {"width": 32, "depth": 2, "num_heads": 2} if tiny else {"width": 768, "depth": 12, "num_heads": 12}
    decoder = (
        {"decoder_width": 32, "decoder_depth": 1} if tiny else {"decoder_width": 512, "decoder_depth": 8}
    )
    return tt.objectives.MaskedAutoencoder(
        tt.backbones.vit((side, side, 3), patch_size=16, **size), **decoder
    ), side


class Again(keras.utils.PyDataset):
    """One batch, again and again."""

    def __init__(self, batch, count):
        super().__init__()
        self.batch, self.count = batch, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return (self.batch,)


class Clock(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.begun = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.loss = float(logs["loss"])  # waits for the device
        self.seconds = time.perf_counter() - self.begun


def throughput(name, strategy, batch_size, steps, tiny, peak):
    """Images per second over `steps` steps, after as many as compiling takes."""
    with strategy.scope():
        objective, side = large(name, tiny)
        jit = tt.placement.jit_compile(objective)
        objective.compile(keras.optimizers.AdamW(1e-4), jit_compile=jit)
    batch = np.random.default_rng(0).random((batch_size, side, side, 3), "float32")
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        batches = tf.data.Dataset.from_tensors(batch).repeat()
    else:
        batches = Again(batch, steps)
    begun = time.perf_counter()
    objective.fit(batches, steps_per_epoch=2, shuffle=False, verbose=0)
    first = time.perf_counter() - begun
    clock = Clock()
    objective.fit(batches, steps_per_epoch=steps, epochs=2, shuffle=False, verbose=0, callbacks=[clock])
    rate, flops = steps * batch_size / clock.seconds, training_flops(objective)  # of the second epoch
    return {
        "batch_size": batch_size,
        "xla": jit,
        "images_per_second": rate,
        "step_s": clock.seconds / steps,
        "first_two_steps_s": first,
        "gflops_per_image": flops / 1e9,
        "tflops_per_second": rate * flops / 1e12,
        "share_of_peak": rate * flops / peak if peak else None,
        "loss": clock.loss,
        "gradient_bytes": tt.placement.gradient_bytes(objective),
    }


def table(result):
    lines = [
        f"{len(result['devices'])} × {result['devices'][0]}, {result['backend']}, Keras {result['keras']}"
    ]
    for name, one in result["correctness"].items():
        words = "agrees with the CPU" if one["agrees"] else "DIFFERS from the CPU"
        if result["devices"][0].lower() == "cpu":
            words = "no accelerator, the CPU with itself"
        lines.append(f"{name:18} {words}: {one['apart']:.1e} apart after moving by {one['moved']:.1e}")
    for name, one in result["speed"].items():
        share = (
            "peak not known" if one["share_of_peak"] is None else f"{one['share_of_peak']:.1%} of the peak"
        )
        lines.append(
            f"{name:18} {one['images_per_second']:9.0f} images/s, {one['tflops_per_second']:8.2f} TFLOP/s, {share}; "
            f"{one['step_s'] * 1e3:.1f} ms a step of {one['batch_size']}"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", help="JSON file to be written")
    parser.add_argument("--batch-size", type=int, default=256, help="pictures a step, over all devices")
    parser.add_argument("--steps", type=int, default=30, help="steps to be timed")
    parser.add_argument(
        "--peak-tflops", type=float, help="bfloat16 peak of one device, in 10¹² operations a second"
    )
    parser.add_argument("--precision", default="mixed_bfloat16", help="Keras dtype policy of the timed part")
    parser.add_argument("--small", action="store_true", help="tiny models, to see that it runs")
    arguments = parser.parse_args()
    steps, batch_size = (3, 8) if arguments.small else (arguments.steps, arguments.batch_size)

    strategy = tt.placement.strategy("auto")
    names = device_names()
    peak, source = peak_of(names, arguments.peak_tflops)
    with in_full_precision():
        correctness = {name: comparison(name, strategy) for name in ("SimCLR", "MaskedAutoencoder")}
    result = {
        "devices": names,
        "backend": keras.backend.backend(),
        "keras": keras.__version__,
        "python": platform.python_version(),
        "precision": arguments.precision,
        "peak": peak,
        "peak_source": source,
        "small": arguments.small,
        "correctness": correctness,
        "speed": {},
    }
    keras.config.set_dtype_policy(arguments.precision)
    for name in ("MaskedAutoencoder", "SimCLR"):
        result["speed"][name] = throughput(name, strategy, batch_size, steps, arguments.small, peak)
    print(table(result))
    if arguments.out:
        with open(arguments.out, "w") as file:
            json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
