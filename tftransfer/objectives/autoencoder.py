"""Autoencoder and denoising autoencoder: give back what came in."""

import keras
from keras import ops

from tftransfer import placement
from tftransfer.layers import (
    example_decoder,
    example_generator,
    greatest_pixel,
    pool,
    reconstruction_error,
    register,
)
from tftransfer.objectives.objective import Objective


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

    Small data, one GPU: `noise_kind="masking"` with `noise` of 0.1, 0.25 or 0.4, of which each was best for some of the
    paper's small data sets; nothing here depends on the size of a batch. Behind a feature map, `pooling="mean"`: what
    heads and probes read must then hold the example, not each place its own part of it.

    Args:
        backbone: any built `keras.Model`.
        noise: 0 for the plain autoencoder; else the standard deviation of the Gaussian noise, or the share of
            values set to zero, by `noise_kind`. For a backbone that rescales pixels by itself the deviation is that of
            pixels in [0, 1] all the same, and so is the loss.
        noise_kind: `"gaussian"` or `"masking"`.
        pooling: None: the decoder reads the features as they are, which reconstructs sharply; `"mean"`, `"max"` or
            `"flatten"`: it reads one vector an example.
        decoder: `"auto"` (convolutional behind a feature map or from a pooled vector to a picture, dense otherwise),
            `"dense"`, `"convolutional"`, or a `keras.Model` of your own from what it reads to examples.
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

    def __init__(
        self,
        backbone,
        *,
        noise=0.0,
        noise_kind="gaussian",
        pooling=None,
        decoder="auto",
        seed=0,
        **kwargs,
    ):
        if noise_kind not in ("gaussian", "masking"):
            raise ValueError(f'noise_kind is "gaussian" or "masking"; received {noise_kind!r}.')
        if not noise >= 0 or (noise_kind == "masking" and noise >= 1):
            raise ValueError(
                f"noise is 0 or more, and below 1 when it masks; received {noise} ({noise_kind})."
            )
        super().__init__(backbone, **kwargs)
        self.noise = noise
        self.noise_kind = noise_kind
        self.seed = seed
        self.random = keras.random.SeedGenerator(seed)
        self.greatest = greatest_pixel(backbone)
        self.pooling = pooling
        self.decoder = decoder
        features, examples = backbone.output_shape, backbone.input_shape[1:]
        if pooling is None:
            self.pool, self.decoder_model = None, example_decoder(decoder, features[1:], examples)
        else:
            self.pool = pool(features, kind=pooling)
            width = self.pool.compute_output_shape(features)[-1]
            self.decoder_model = example_generator(decoder, width, examples)

    def call(self, inputs, training=None):
        if isinstance(inputs, dict):
            corrupted, target = inputs["corrupted"], inputs["target"]
        else:
            corrupted, target = self._corrupt(inputs), inputs
        features = self.backbone(corrupted, training=training)
        if self.pool is not None:
            features = self.pool(features)
        values = ops.cast(self.decoder_model(features, training=training), "float32")
        return {"reconstruction": self.greatest * values, "target": target}

    def _corrupt(self, examples):
        if not keras.backend.is_float_dtype(examples.dtype):  # bytes, for a backbone that rescales them
            examples = ops.cast(examples, "float32")
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
        return examples + self.greatest * self.noise * ops.cast(draws, examples.dtype)

    def compute_objective(self, outputs):
        return reconstruction_error(outputs["reconstruction"], outputs["target"]) / self.greatest**2
