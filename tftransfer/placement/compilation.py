"""The one place that decides about XLA."""

import keras

from tftransfer.placement.replicas import replicas

__all__ = ["jit_compile"]


def jit_compile(model, *, steps=None):
    """Whether to `compile(jit_compile=...)` this model here. (The full rule follows.)

    Args:
        model: the model to be trained.
        steps: optimizer steps that it will be trained for, where known.
    """
    del model, steps
    return keras.backend.backend() == "jax" and replicas() == 1
