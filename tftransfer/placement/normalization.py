"""BatchNormalization that sees the global batch: what a layer needs depends on the backend and the strategy."""

import keras

from tftransfer.placement.replicas import replicas

__all__ = ["adapt_batch_normalization"]


def adapt_batch_normalization(target):
    """Sets `synchronized` of every BatchNormalization to what the backend and the strategy in scope need.

    True on several `tf.distribute` replicas, which would else normalise by their own rows and drift apart (moving
    statistics 1e-2 off); False on one device; False on JAX, where the compiler sees the global batch and Keras raises
    on True. Use it on a config before building a model from a file that was saved elsewhere.

    Args:
        target: a config (a nest of dicts and lists, as `get_config` or `json` give it), or a built `keras.Model`.

    Returns:
        A new config, or the same model, its layers changed in place.

    Example:
        >>> import tftransfer as tt
        >>> config = {"layers": [{"class_name": "BatchNormalization", "config": {"synchronized": True}}]}
        >>> tt.placement.adapt_batch_normalization(config)
        {'layers': [{'class_name': 'BatchNormalization', 'config': {'synchronized': False}}]}
    """
    needed = replicas() > 1
    if isinstance(target, keras.Layer):
        for layer in target._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = needed
        return target
    return _adapted(target, needed)


def _adapted(value, needed):
    if isinstance(value, (list, tuple)):
        return type(value)(_adapted(item, needed) for item in value)
    if not isinstance(value, dict):
        return value
    adapted = {key: _adapted(item, needed) for key, item in value.items()}
    if adapted.get("class_name") == "BatchNormalization" and isinstance(adapted.get("config"), dict):
        adapted["config"]["synchronized"] = needed
    return adapted
