"""Batch normalisation with the settings that survive short runs and several replicas."""

import keras

from tftransfer import placement

__all__ = ["batch_normalization", "synchronize_batch_normalization"]


def _synchronized():
    return keras.backend.backend() == "tensorflow" and placement.replicas() > 1


def batch_normalization(name, *, epsilon=1e-5):
    """Makes a plain `keras.layers.BatchNormalization` that forgets quickly and counts the whole global batch.

    `y = gamma * (x - mean) / sqrt(variance + epsilon) + beta`, over the last axis. The moving statistics keep 0.9 of
    their value in each step: Keras's own 0.99 leaves them unconverged in runs of a few hundred steps, and inference
    is then wrong although training looks well. Under a strategy with several replicas the statistics are those of
    the global batch (on JAX a step sees the global batch anyway), so call this inside `strategy.scope()`.

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
    return keras.layers.BatchNormalization(
        momentum=0.9, epsilon=epsilon, synchronized=_synchronized(), name=name
    )


def synchronize_batch_normalization(model):
    """Sets `synchronized` on every BatchNormalization in a model to what the strategy in scope needs.

    For a model that was built, or whose config was written, under another number of replicas: without it the moving
    statistics of the replicas drift apart. It acts on steps that are traced afterwards, so call it before `compile`.

    Args:
        model: any `keras.Model` or layer; nested models are searched too.

    Returns:
        How many BatchNormalization layers changed.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(synchronized=False)])
    >>> synchronize_batch_normalization(model)
    0
    """
    layers = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and bool(layer.synchronized) != _synchronized()
    ]
    for layer in layers:
        layer.synchronized = _synchronized()
    return len(layers)
