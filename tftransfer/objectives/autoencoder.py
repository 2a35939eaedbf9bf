"""Autoencoder and denoising autoencoder: give back what came in."""

import math

import keras
from keras import ops

from tftransfer import placement
from tftransfer.layers import batch_normalization, register
from tftransfer.objectives.objective import Objective


def reconstruction_error(reconstruction, target):
    """Mean squared error over all values of all examples: `mean((x̂ - x)²)`, a float32 scalar.

    Example:

    >>> float(reconstruction_error(ops.ones((2, 3)), ops.zeros((2, 3))))
    1.0
    """
    return ops.mean(ops.square(ops.cast(reconstruction, "float32") - ops.cast(target, "float32")))


@register
class Autoencoder(Objective):
    """Reconstructs its input through the backbone's features; with `noise`, from a corrupted input.

    The classic of unsupervised pretraining, for any kind of data. Without noise a wide backbone may learn to copy:
    prefer the denoising form, or a narrow one.

    `loss = mean((decoder(backbone(corrupt(x))) - x)²)`

    Reference: Hinton & Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks, 2006,
    https://doi.org/10.1126/science.1127647; denoising: Vincent et al., Stacked Denoising Autoencoders, 2010,
    https://jmlr.org/papers/v11/vincent10a.html
    Differs from them in: all layers are trained at once, not greedily one after another.

    Args:
        backbone: any built `keras.Model`.
        noise: 0 for the plain autoencoder; else the standard deviation of the Gaussian noise, or the share of
            values set to zero, by `noise_kind`.
        noise_kind: `"gaussian"` or `"masking"`.
        decoder: `"auto"` (convolutional behind a feature map, dense otherwise), `"dense"`, `"convolutional"`, or a
            `keras.Model` of your own from features to examples.
        seed: seed of the noise.

    Input: a batch of examples, or `{"corrupted": …, "target": …}` made beforehand.
    Output: `{"reconstruction": …, "target": …}`, both of the examples' shape.

    Raises:
        ValueError: for another noise, or a decoder that does not give the examples' shape.

    Example:

    >>> backbone = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    >>> objective = Autoencoder(backbone, noise=0.3, noise_kind="masking")
    >>> objective.compile("adam")
    >>> history = objective.fit(keras.random.uniform((16, 8)), verbose=0)
    """

    def __init__(self, backbone, *, noise=0.0, noise_kind="gaussian", decoder="auto", seed=0, **kwargs):
        if noise_kind not in ("gaussian", "masking"):
            raise ValueError(f'noise_kind is "gaussian" or "masking"; received {noise_kind!r}.')
        if noise < 0 or (noise_kind == "masking" and noise >= 1):
            raise ValueError(
                f"noise is 0 or more, and below 1 when it masks; received {noise} ({noise_kind})."
            )
        super().__init__(backbone, **kwargs)
        self.noise = noise
        self.noise_kind = noise_kind
        self.seed = seed
        self.random = keras.random.SeedGenerator(seed)
        self.decoder = decoder
        self.decoder_model = _decoder(
            decoder, tuple(backbone.output_shape[1:]), tuple(backbone.input_shape[1:])
        )

    def call(self, inputs, training=None):
        if isinstance(inputs, dict):
            corrupted, target = inputs["corrupted"], inputs["target"]
        else:
            corrupted, target = self._corrupt(inputs), inputs
        features = self.backbone(corrupted, training=training)
        return {"reconstruction": self.decoder_model(features, training=training), "target": target}

    def _corrupt(self, examples):
        if not self.noise:
            return examples
        masking = self.noise_kind == "masking"
        sampler = keras.random.uniform if masking else keras.random.normal
        draws = placement.per_example(
            lambda n: sampler((n, *examples.shape[1:]), dtype="float32", seed=self.random),
            ops.shape(examples)[0],
        )
        if masking:
            return examples * ops.cast(draws >= self.noise, examples.dtype)
        return examples + self.noise * ops.cast(draws, examples.dtype)

    def compute_objective(self, outputs):
        return reconstruction_error(outputs["reconstruction"], outputs["target"])


def _decoder(decoder, features_shape, example_shape):
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
        raise ValueError(
            f"An autoencoder needs examples of a fixed shape; the backbone reads {example_shape}."
        )
    if decoder == "auto":
        decoder = "convolutional" if len(features_shape) == 3 and len(example_shape) == 3 else "dense"
    if decoder == "dense":
        return _dense_decoder(features_shape, example_shape)
    return _convolutional_decoder(features_shape, example_shape)


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
