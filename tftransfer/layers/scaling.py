"""Which range of pixel values a model expects."""

import keras


def rescales_pixels(model):
    """Whether a model rescales pixels by itself, so that pictures are to be handed over as 0 to 255.

    True for a model with a `keras.layers.Rescaling` layer anywhere in it, as `keras.applications`
    EfficientNet and MobileNetV3 have; `pretrain`, `finetune` and `evaluate` then leave uint8 pictures
    unscaled, and for all other models bring them to [0, 1].

    Args:
        model: A `keras.Model` or layer.

    Example:

    >>> rescales_pixels(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255)]))
    True
    """
    layers = model._flatten_layers(include_self=True, recursive=True)
    return any(isinstance(layer, keras.layers.Rescaling) for layer in layers)
