"""Which range of pixel values a model expects."""

import keras
import numpy as np

_STRONG = 0.1  # Rescaling(1 / 255) and (1 / 127.5, -1) read bytes; (2, -1) reads what is in [0, 1] already


def rescales_pixels(model):
    """Whether a model rescales pixels by itself, so that pictures are to be handed over as 0 to 255.

    True for a model with a `keras.layers.Rescaling` layer of a scale of 0.1 or less anywhere in it, as
    `keras.applications` EfficientNet and MobileNetV3 have; `pretrain`, `finetune` and `evaluate` then leave uint8
    pictures unscaled, and for all other models bring them to [0, 1].

    Args:
        model: A `keras.Model` or layer.

    Example:

    >>> rescales_pixels(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255)]))
    True
    """
    layers = model._flatten_layers(include_self=True, recursive=True)
    scales = (layer.scale for layer in layers if isinstance(layer, keras.layers.Rescaling))
    return any(np.abs(scale).max() <= _STRONG for scale in scales)


def greatest_pixel(model):
    """The greatest value of a pixel that a model expects, the least being 0: 255 or 1, see `rescales_pixels`.

    Args:
        model: A `keras.Model` or layer.

    Example:

    >>> greatest_pixel(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255)]))
    255.0
    """
    return 255.0 if rescales_pixels(model) else 1.0


def check_unit_pixels(backbone, *, objective):
    """Raises a `ValueError` for a backbone that reads 0 to 255, where an objective explains values in [0, 1].

    Args:
        backbone: a `keras.Model`.
        objective: name of the objective, for the message.

    Example:

    >>> check_unit_pixels(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Dense(2)]), objective="GAN")
    """
    if rescales_pixels(backbone):
        raise ValueError(
            f"{objective} makes examples with values in [0, 1], and the backbone {backbone.name!r} reads 0 to 255: it "
            f"has a Rescaling layer of its own. Leave that layer out of the backbone; pictures of uint8 are then "
            f"scaled for you."
        )
