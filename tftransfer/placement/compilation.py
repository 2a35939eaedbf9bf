"""The one place that decides about XLA."""

from pathlib import Path

import keras

__all__ = ["explain_jit_compile", "jit_compile", "needs_static_shapes"]

ENOUGH_STEPS = 300  # on a CPU: below, compiling costs more than the faster steps give back
MANY_CONVOLUTIONS, WIDE = 8, 64  # of so many filters or more


def jit_compile(model, *, steps=None, verbose=False):
    """Whether to compile this model with XLA here: `model.compile(..., jit_compile=jit_compile(model, steps=steps))`.

    Yes on JAX, on one GPU and on a TPU, if every layer allows it. On a CPU only where it pays: on a processor without
    AVX-512 (with it, TensorFlow's own kernels are as fast), for enough steps, with attention by Keras's layers; or with
    many wide convolutions being trained, and no max-pooling (whose gradient XLA computes slowly). Never on several
    `tf.distribute` replicas, where it fails or aborts the process.

    Measured on two shared cores, CPU milliseconds a step without and with it (Keras 3.15.1, TensorFlow 2.21, batches
    of 64 unless said). With AVX-512: three convolutions with max-pooling 29 and 58; ResNet-18 on 32 pixels 1330 and
    1950, in batches of 16 375 and 425; a masked autoencoder of 6 blocks, width 192, batches of 128, 626 to 674 and 626
    to 664 (`one_kernel` does for both what XLA is good at), its first step 5 CPU-seconds later. With AVX2 alone, at
    50 GFLOP/s a core: three convolutions with max-pooling, batches of 128, 600 and 930; nine of 16 to 64 filters,
    batches of 256, 660 and 730; SimCLR on ResNet-18 14,700 and 12,300; the masked autoencoder 1,460 and 1,550, its
    first step 15 CPU-seconds later. Texts of 16 lengths, each compiled for itself (BERT of 2 blocks, width 64): 25 and
    18 a step, 62 CPU-seconds later.

    Args:
        model: the model to be trained, its layers frozen as they will be.
        steps: optimizer steps that it will be trained for; None counts as many.
        verbose: whether to print the decision and its reason.

    Example:
        >>> import tftransfer as tt
        >>> tt.placement.jit_compile(tt.backbones.mlp((4,)), steps=10, verbose=True) in (True, False)
        XLA ...
        True
    """
    decision, reason = explain_jit_compile(model, steps=steps)
    if verbose:
        print(f"XLA {'on' if decision else 'off'}: {reason}")
    return decision


def explain_jit_compile(model, *, steps=None):
    """What `jit_compile` decides, and why: `(bool, str)`.

    Args:
        model: the model to be trained.
        steps: optimizer steps that it will be trained for, where known.

    Example:
        >>> import tftransfer as tt
        >>> decision, reason = tt.placement.explain_jit_compile(tt.backbones.mlp((4,)), steps=10)
    """
    layers = model._flatten_layers()
    unfit = [layer.name for layer in layers if not layer.supports_jit]
    if unfit:
        return False, f"layers that XLA cannot compile: {', '.join(unfit[:3])}"
    if keras.backend.backend() != "tensorflow":
        return True, "JAX compiles everything"
    import tensorflow as tf

    strategy = model.distribute_strategy
    if isinstance(strategy, tf.distribute.TPUStrategy):
        return True, "a TPU runs nothing else"
    if strategy.num_replicas_in_sync > 1 or isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return False, f"{strategy.num_replicas_in_sync} replicas, whose meetings XLA cannot compile"
    if tf.config.list_logical_devices("GPU"):
        return True, "one GPU"
    shape = getattr(getattr(model, "backbone", model), "input_shape", None)
    if isinstance(shape, tuple) and None in shape[1:]:
        return False, "rows of several lengths, each of which would be compiled for itself"
    return _pays_on_cpu(layers, steps)


def needs_static_shapes():
    """Whether a step takes batches of one known shape alone, so that texts must not have several lengths.

    So it is where TensorFlow is connected to a TPU (untested there). JAX compiles a step for each of the few lengths.

    Example:
        >>> import tftransfer as tt
        >>> tt.placement.needs_static_shapes() in (True, False)
        True
    """
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return bool(tf.config.list_logical_devices("TPU"))


def _pays_on_cpu(layers, steps):
    trained = [layer for layer in layers if layer.trainable_variables and not _has_parts(layer)]
    attention = any(_attends_by_keras(layer) and layer.trainable_variables for layer in layers)
    convolutions = [layer for layer in trained if isinstance(layer, keras.layers.Conv2D)]
    wide = sum(layer.filters >= WIDE for layer in convolutions)
    if convolutions and any(isinstance(layer, keras.layers.MaxPooling2D) for layer in layers):
        return False, "on a CPU the gradient of max-pooling is slow with XLA"
    if not attention and wide < MANY_CONVOLUTIONS:
        return False, "too little to gain on a CPU"
    if _own_kernels_are_fast():
        return False, "on this CPU TensorFlow's own kernels are as fast or faster"
    if steps is not None and steps < ENOUGH_STEPS:
        return False, f"{steps} steps do not repay compiling on a CPU (from {ENOUGH_STEPS} on they do)"
    return True, "attention" if attention else f"{wide} wide convolutions are trained"


def _attends_by_keras(layer):
    """Attention of Keras's or KerasHub's; in this library's blocks `one_kernel` does what XLA is good at."""
    ours = type(layer).__module__.partition(".")[0] == __name__.partition(".")[0]
    return "Attention" in type(layer).__name__ and not ours


def _own_kernels_are_fast():
    """Whether the processor has AVX-512, or does not say."""
    try:
        return "avx512f" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return True


def _has_parts(layer):
    return len(layer._flatten_layers()) > 1
