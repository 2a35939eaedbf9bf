"""From features back to examples: dense, or a convolutional map that doubles."""

import math

import keras
from keras import ops

from tftransfer.layers.normalization import batch_normalization

__all__ = ["example_decoder", "example_generator", "reconstruction_error"]


def example_decoder(decoder, features_shape, example_shape):
    """The model that draws examples from features: an autoencoder's second half, or a generator.

    Args:
        decoder: `"auto"` (convolutional behind a feature map, dense otherwise), `"dense"`, `"convolutional"`, or a
            built `keras.Model` from features to examples, which is returned as it is.
        features_shape: shape of the features without the batch axis.
        example_shape: shape of an example without the batch axis.

    Returns:
        A built `keras.Model` from `(batch, *features_shape)` to `(batch, *example_shape)`, without activation.

    Raises:
        ValueError: for another decoder, one that gives another shape, or examples of open shape.

    Example:

    >>> example_decoder("convolutional", (16,), (8, 8, 1)).output_shape
    (None, 8, 8, 1)
    """
    features_shape, example_shape = tuple(features_shape), tuple(example_shape)
    if isinstance(decoder, keras.Model):
        if tuple(decoder.output_shape[1:]) != example_shape:
            raise ValueError(
                f"The decoder gives examples of shape {tuple(decoder.output_shape[1:])}, and the backbone reads "
                f"{example_shape}. Give the decoder's last layer that shape."
            )
        return decoder
    if decoder not in ("auto", "dense", "convolutional"):
        raise ValueError(
            f'decoder is "auto", "dense", "convolutional" or a keras.Model; received {decoder!r}.'
        )
    if None in example_shape:
        raise ValueError(f"A decoder needs examples of a fixed shape; received {example_shape}.")
    if decoder == "auto":
        decoder = "convolutional" if len(features_shape) == 3 and len(example_shape) == 3 else "dense"
    if decoder == "dense":
        return _dense_decoder(features_shape, example_shape)
    return _convolutional_decoder(features_shape, example_shape)


def example_generator(generator, latent_width, example_shape):
    """The model that draws examples from codes: as `example_decoder`, but `"auto"` is convolutional for pictures.

    Args:
        generator: `"auto"` (convolutional for pictures, dense otherwise), or as in `example_decoder`.
        latent_width: size of a code.
        example_shape: shape of an example without the batch axis.

    Returns:
        A built `keras.Model` from `(batch, latent_width)` to `(batch, *example_shape)`, without activation.

    Raises:
        ValueError: as `example_decoder`.

    Example:

    >>> example_generator("auto", 4, (8, 8, 1)).output_shape
    (None, 8, 8, 1)
    """
    if generator == "auto":
        generator = "convolutional" if len(example_shape) == 3 else "dense"
    return example_decoder(generator, (latent_width,), example_shape)


def reconstruction_error(reconstruction, target):
    """Mean squared error over all values of all examples: `mean((x̂ - x)²)`.

    Args:
        reconstruction, target: tensors of one shape.

    Returns:
        Float32 scalar.

    Example:

    >>> float(reconstruction_error(ops.ones((2, 3)), ops.zeros((2, 3))))
    1.0
    """
    return ops.mean(ops.square(ops.cast(reconstruction, "float32") - ops.cast(target, "float32")))


def _dense_decoder(features_shape, example_shape):
    layers = [keras.Input(features_shape, name="features")]
    if len(features_shape) > 1:
        layers.append(keras.layers.Flatten(name="flatten"))
    layers += [
        keras.layers.Dense(math.prod(example_shape), name="values"),
        keras.layers.Reshape(example_shape, name="examples"),
    ]
    return keras.Sequential(layers, name="decoder")


def _convolutional_decoder(features_shape, example_shape):
    """Doubles a small map until it covers the picture, then crops it to size."""
    if len(example_shape) != 3:
        raise ValueError(
            f"A convolutional decoder makes pictures (height, width, channels), not {example_shape}."
        )
    h, w, channels = example_shape
    features = x = keras.Input(features_shape, name="features")
    if len(features_shape) != 3:  # a vector or tokens: lay them out as a map of an eighth of the picture
        rows, columns = math.ceil(h / 8), math.ceil(w / 8)
        x = keras.layers.Flatten(name="flatten")(x)
        x = keras.layers.Dense(rows * columns * 64, activation="relu", name="map_values")(x)
        x = keras.layers.Reshape((rows, columns, 64), name="map")(x)
    i, width = 0, min(x.shape[-1], 128)
    while x.shape[1] < h or x.shape[2] < w:
        width = max(width // 2, 16)
        strides = (2 if x.shape[1] < h else 1, 2 if x.shape[2] < w else 1)
        x = keras.layers.Conv2DTranspose(
            width, 4 if strides == (2, 2) else 3, strides, "same", use_bias=False, name=f"up_{i}"
        )(x)
        x = keras.layers.ReLU(name=f"relu_{i}")(batch_normalization(f"norm_{i}")(x))
        i += 1
    if x.shape[1:3] != (h, w):
        top, left = (x.shape[1] - h) // 2, (x.shape[2] - w) // 2
        crop = ((top, x.shape[1] - h - top), (left, x.shape[2] - w - left))
        x = keras.layers.Cropping2D(crop, name="crop")(x)
    x = keras.layers.Conv2D(channels, 3, padding="same", name="pixels")(x)
    return keras.Model(features, x, name="decoder")
