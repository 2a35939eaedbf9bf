"""Batch normalisation with the settings that survive short runs and several replicas."""

import keras

from tftransfer import placement

__all__ = ["batch_normalization"]


def batch_normalization(name, *, epsilon=1e-5):
    """Makes a plain `keras.layers.BatchNormalization` that forgets quickly and counts the whole global batch.

    `y = gamma * (x - mean) / sqrt(variance + epsilon) + beta`, one mean and variance for each channel (last
    axis). The moving statistics keep 0.9 of their value in each step: Keras's own 0.99 leaves them
    unconverged in runs of a few hundred steps, and inference is then wrong although training looks well.
    Under a strategy with several replicas the statistics are those of the global batch, so call this inside
    `strategy.scope()`. (On JAX a step sees the global batch anyway.)

    Reference: Ioffe & Szegedy, Batch Normalization, 2015, https://arxiv.org/abs/1502.03167

    Args:
        name: name of the layer; explicit, because weights are matched by name.
        epsilon: added to the variance.

    Returns:
        A `keras.layers.BatchNormalization`.

    Example:

    >>> layer = batch_normalization("stem_norm")
    >>> layer.name, layer.momentum, layer.synchronized
    ('stem_norm', 0.9, False)
    """
    synchronized = placement.replicas() > 1  # never on JAX, where Keras raises on True
    return keras.layers.BatchNormalization(
        momentum=0.9, epsilon=epsilon, synchronized=synchronized, name=name
    )
