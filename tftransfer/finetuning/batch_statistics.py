"""refresh_batch_norm(): the statistics of BatchNormalization that belong to the weights as they now are."""

import keras
import numpy as np

from tftransfer import data as data_module
from tftransfer import placement
from tftransfer.finetuning.case import input_shape_of
from tftransfer.finetuning.compilation import kept_beside, scope_of

__all__ = ["live_batch_norm", "refresh_batch_norm"]


def refresh_batch_norm(model, data, *, batch_size=128, seed=0):
    """Estimates the statistics of every live BatchNormalization anew, from one pass over data.

    Weights that were averaged (`weights.soup`, `weights.interpolate`, `StochasticAverage`) have never been
    run, so the moving statistics beside them belong to none of them, and accuracy can fall to chance. Each
    layer gets the mean and variance over all examples, normalised below it batch by batch, as in training
    (augmentation and dropout at work), not a moving average of the last batches. A layer that is not
    trainable keeps its statistics. Weights and random states do not change.

    Reference: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018
    (section 3.2), https://arxiv.org/abs/1803.05407

    Args:
        model: a task, or any built `keras.Model`.
        data: examples, with or without labels, as those of training.
        batch_size: examples a batch.
        seed: of the order of the examples.

    Returns:
        How many layers were refreshed; 0 costs nothing.

    Raises:
        ValueError: when `data` is not understood or empty.

    Example:

    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization()])
    >>> x = np.random.default_rng(0).normal(5, 2, (100, 3)).astype("float32")
    >>> refresh_batch_norm(model, x)
    1
    >>> bool(np.allclose(model.layers[0].moving_mean, x.mean(axis=0), atol=1e-4))
    True
    """
    layers = live_batch_norm(model)
    if not layers:
        return 0
    batches = data_module.batches(
        data,
        batch_size=batch_size,
        shuffle=True,
        seed=seed,
        labels=False,
        scale=not data_module.rescales_pixels(model),
        input_shape=input_shape_of(model),
    )
    weights = {id(variable) for variable in model.weights}
    states = [(v, keras.ops.convert_to_numpy(v)) for v in model.variables if id(v) not in weights]
    runner = _runner(model)
    momenta = [layer.momentum for layer in layers]
    sums, count = [[0.0, 0.0] for _ in layers], 0
    try:
        for layer in layers:
            layer.momentum = 0.0  # a batch's own statistics, to be read after it
        for batch in batches:
            batch = keras.tree.map_structure(np.asarray, batch)  # JAX takes no tensors of TensorFlow's
            rows = len(keras.tree.flatten(runner.predict_on_batch(batch))[0])
            for layer, total in zip(layers, sums, strict=True):
                mean, variance = (_array(v) for v in (layer.moving_mean, layer.moving_variance))
                total[0] = total[0] + rows * mean
                total[1] = total[1] + rows * (variance + mean**2)
            count += rows
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for variable, value in states:
            variable.assign(value)
    for layer, (first, second) in zip(layers, sums, strict=True):
        layer.moving_mean.assign(first / count)
        layer.moving_variance.assign(np.maximum(second / count - (first / count) ** 2, 0))
    return len(layers)


def live_batch_norm(model):
    """The BatchNormalization layers of a model that use, and update, the statistics of batches in training."""
    kind = keras.layers.BatchNormalization
    return [layer for layer in model._flatten_layers() if isinstance(layer, kind) and layer.trainable]


class _AsInTraining(placement.PlacedModel):
    """A model that runs another as in training, without a loss: its BatchNormalization sees batches."""

    def __init__(self, model):
        super().__init__(name="as_in_training", dtype=model.dtype_policy)
        self.inner = model
        self.built = True

    def call(self, inputs):
        return self.inner(inputs, training=True)


def _runner(model):
    """Made once for a model of the same parts and live layers, which with momentum 0 are in what is traced."""
    models = kept_beside(model).models
    parts = [getattr(model, name, None) for name in ("backbone", "head")] + live_batch_norm(model)
    key = ("as_in_training", *map(id, parts))
    if key not in models:
        with scope_of(model):
            models[key] = _AsInTraining(model)
            models[key].compile(jit_compile=keras.backend.backend() == "jax")
    return models[key]


def _array(variable):
    return np.asarray(keras.ops.convert_to_numpy(variable), "float64")
