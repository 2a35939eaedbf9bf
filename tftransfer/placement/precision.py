"""bfloat16 is for hardware that computes in it."""

from pathlib import Path

import keras

__all__ = ["check_precision"]

UNITS = {"avx512_bf16", "amx_bf16", "bf16", "svebf16"}  # as Linux names them, on x86 and Arm


def check_precision(model):
    """Raises where a model would compute in bfloat16 on processors that emulate it.

    Without units for it a training step takes 25 to 90 times as long as in float32 (measured on two cores with AVX2
    alone, Keras 3.15, TensorFlow 2.21). `pretrain` and `finetune` ask this before they begin; `compile` and `fit` by
    hand do not. GPUs, TPUs and processors with such units pass, and so does a system that does not tell.

    Args:
        model: an objective, a task, or another Keras model.

    Raises:
        ValueError: for bfloat16, mixed or pure, on such processors.

    Example:
        >>> import tftransfer as tt
        >>> tt.placement.check_precision(tt.backbones.mlp((4,)))
    """
    slow = [layer for layer in model._flatten_layers() if layer.compute_dtype == "bfloat16" and layer.weights]
    if slow and _on_processors(model) and _has_units() is False:
        raise ValueError(
            f"{model.name!r} computes in bfloat16 (policy {slow[0].dtype_policy.name!r}) on processors without units "
            "for it: 25 to 90 times slower than float32. Build it under keras.config.set_dtype_policy('float32') here, "
            "and under 'mixed_bfloat16' where there is a GPU or a TPU. (compile() and fit() by hand train it anyway.)"
        )


def _has_units():
    """Whether the processor computes in bfloat16; None where the system does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return None
    words = [
        line.split(":", 1)[1].split() for line in text.splitlines() if line.startswith(("flags", "Features"))
    ]
    return any(UNITS & set(flags) for flags in words) if words else None


def _on_processors(model):
    """Whether the devices that a model was placed on are all CPUs."""
    if keras.backend.backend() != "tensorflow":
        return all(device.startswith("cpu") for device in keras.distribution.list_devices())
    from tftransfer.placement.tensorflow_devices import devices_of

    return all("CPU" in device for device in devices_of(model.distribute_strategy))
