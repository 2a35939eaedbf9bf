"""Variational autoencoder: a code that is a distribution, trained on the evidence lower bound."""

import math

import keras
from keras import ops

from tftransfer import placement
from tftransfer.layers import StepCount, check_unit_pixels, example_generator, pool, register
from tftransfer.objectives.objective import Objective


def discretized_logistic(target, location, log_scale, *, levels):
    """Log probability of each value in nats, under a logistic distribution cut into `levels` bins of [0, 1].

    `log( σ((x + ½b - μ) / s) - σ((x - ½b - μ) / s) )` with bin width `b = 1 / (levels - 1)`; the first and the last
    bin reach to infinity, so that the probabilities of all levels sum to 1.

    Args:
        target: values in [0, 1].
        location: μ, of the same shape.
        log_scale: log s, broadcast against them.
        levels: number of values that a pixel may have; 256 for pictures of 8 bits.

    Returns:
        Float32 tensor of the target's shape.

    Reference: Salimans et al., PixelCNN++, 2017, https://arxiv.org/abs/1701.05517

    Example:

    >>> values = ops.arange(4, dtype="float32") / 3
    >>> p = ops.exp(discretized_logistic(values, 0.3 * ops.ones(4), -1.0, levels=4))
    >>> round(float(ops.sum(p)), 4)
    1.0
    """
    target, location = ops.cast(target, "float32"), ops.cast(location, "float32")
    inverse = ops.exp(-ops.cast(log_scale, "float32"))
    half = 0.5 / (levels - 1)
    upper = (target + half - location) * inverse
    lower = (target - half - location) * inverse
    below_upper, above_lower = ops.log_sigmoid(upper), ops.log_sigmoid(-lower)
    width = 2 * half * inverse
    inside = below_upper + above_lower + ops.log(-ops.expm1(-width))  # log(σ(u) - σ(l)) without cancellation
    return ops.where(target < half, below_upper, ops.where(target > 1 - half, above_lower, inside))


def gaussian_divergence(mean, log_variance):
    """`KL(N(m, v) ‖ N(0, 1)) = ½ Σ (m² + v - 1 - log v)` of each example, in nats: `(batch, latent)` to `(batch,)`.

    Example:

    >>> gaussian_divergence(ops.zeros((2, 3)), ops.zeros((2, 3))).numpy().tolist()
    [0.0, 0.0]
    """
    mean, log_variance = ops.cast(mean, "float32"), ops.cast(log_variance, "float32")
    return 0.5 * ops.sum(ops.square(mean) + ops.exp(log_variance) - 1 - log_variance, axis=-1)


@register
class VariationalAutoencoder(Objective):
    """Encodes an example as a Gaussian, draws a code from it, and explains the example by the code.

    A generative model with an encoder: use it for compact codes, for samples, and for likelihoods, which it
    reports as `bits_per_dimension` (an upper bound, lower is better). For features alone the contrastive
    and masked objectives are stronger on pictures.

    `loss = (-E_q[log p(x | z)] + β · w · KL(q(z | x) ‖ N(0, 1))) / dimensions`, nats for each value of an example; `w`
    rises from 0 to 1 over `warmup_steps`. Bits per dimension are those of β · w = 1, divided by `log 2`.

    Reference: Kingma & Welling, Auto-Encoding Variational Bayes, 2013, https://arxiv.org/abs/1312.6114; β: Higgins et
    al., beta-VAE, 2017, https://openreview.net/forum?id=Sy2fzU9gl; warm-up: Sønderby et al., Ladder Variational
    Autoencoders, 2016, https://arxiv.org/abs/1602.02282
    Differs from them in: pixels follow a discretised logistic distribution with one learned scale.

    Small data, one GPU: `warmup_steps` of a tenth of the run, as in the paper of the warm-up (200 of 2,000 epochs);
    nothing here depends on the size of a batch. For features to probe, `pooling="mean"` behind a feature map.

    Args:
        backbone: any built `keras.Model` over examples with values in [0, 1].
        latent_width: size of the code.
        beta: β, weight of the divergence; above 1 for disentangled codes, below for sharper reconstructions.
        warmup_steps: training steps until the divergence has its full weight; a remedy for codes that say nothing.
        levels: number of values that a pixel may have, for the likelihood.
        pooling: what the code is made from: `"flatten"`, all features, or their `"mean"` or `"max"`, which is what
            heads and probes read.
        decoder: `"auto"`, `"dense"`, `"convolutional"`, or a `keras.Model` of your own from codes
            `(batch, latent_width)` to examples.
        seed: seed of the codes that are drawn.

    Input: a batch of examples.
    Output: `{"mean", "log_variance"}` `(batch, latent_width)`, `{"location", "target"}` of the examples' shape,
    `"log_scale"` and `"kl_weight"`, scalars. Without training the code is the mean.

    Raises:
        ValueError: for a negative β or warm-up, fewer than two levels, a decoder of another shape, or a backbone that
            reads 0 to 255.

    Example:

    >>> from tftransfer import backbones
    >>> objective = VariationalAutoencoder(backbones.cnn((8, 8, 1), filters=(8, 16)), latent_width=4)
    >>> objective.compile("adam")
    >>> history = objective.fit(keras.random.uniform((16, 8, 8, 1)), verbose=0)
    >>> sorted(history.history)
    ['bits_per_dimension', 'loss']
    >>> tuple(objective.sample(3).shape)
    (3, 8, 8, 1)
    """

    value_range = (0.0, 1.0)

    def __init__(
        self,
        backbone,
        *,
        latent_width=64,
        beta=1.0,
        warmup_steps=0,
        levels=256,
        pooling="flatten",
        decoder="auto",
        seed=0,
        **kwargs,
    ):
        if beta < 0 or warmup_steps < 0 or levels < 2 or latent_width < 1:
            raise ValueError(
                f"VariationalAutoencoder takes latent_width from 1, beta and warmup_steps from 0 and levels from 2 up; "
                f"received latent_width={latent_width}, beta={beta}, warmup_steps={warmup_steps}, levels={levels}."
            )
        super().__init__(backbone, **kwargs)
        check_unit_pixels(backbone, objective="VariationalAutoencoder")
        self.latent_width = latent_width
        self.beta = beta
        self.warmup_steps = warmup_steps
        self.levels = levels
        self.pooling = pooling
        self.decoder = decoder
        self.seed = seed
        self.random = keras.random.SeedGenerator(seed)
        self.pool = pool(backbone.output_shape, kind=pooling)
        embedding = self.pool.compute_output_shape(backbone.output_shape)[-1]
        self.posterior = keras.layers.Dense(2 * latent_width, name="posterior")
        self.posterior.build((None, embedding))
        self.decoder_model = example_generator(decoder, latent_width, backbone.input_shape[1:])
        self.log_scale = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(-2.0), autocast=False, name="log_scale"
        )
        self.count = StepCount()
        self.bits = keras.metrics.Mean(name="bits_per_dimension")

    def call(self, inputs, training=None):
        features = self.pool(self.backbone(inputs, training=training))
        mean, log_variance = ops.split(ops.cast(self.posterior(features), "float32"), 2, axis=-1)
        log_variance = ops.clip(log_variance, -20.0, 10.0)  # (b, latent)
        code = mean
        if training:
            self.count.advance()
            noise = placement.per_example(
                lambda n: keras.random.normal((n, self.latent_width), dtype="float32", seed=self.random),
                ops.shape(mean)[0],
            )
            code = mean + ops.exp(0.5 * log_variance) * noise
        location = self._decode(code, training)
        return {
            "mean": mean,
            "log_variance": log_variance,
            "location": location,
            "target": inputs,
            "log_scale": ops.convert_to_tensor(self.log_scale),
            "kl_weight": self.beta * self._warmth(),
        }

    def _decode(self, code, training=None):
        return ops.sigmoid(ops.cast(self.decoder_model(code, training=training), "float32"))

    def _warmth(self):
        if not self.warmup_steps:
            return ops.ones((), "float32")
        return ops.minimum(ops.cast(self.count.steps, "float32") / self.warmup_steps, 1.0)

    def sample(self, count):
        """Examples drawn from the model: the decoder's answer to `count` codes of N(0, 1)."""
        code = keras.random.normal((count, self.latent_width), dtype="float32", seed=self.random)
        return self._decode(code, training=False)

    def compute_objective(self, outputs):
        surprise, divergence = self._parts(outputs)
        return surprise + outputs["kl_weight"] * divergence

    def _parts(self, outputs):
        """Reconstruction and divergence in nats for each value of an example."""
        log_probability = discretized_logistic(
            outputs["target"], outputs["location"], outputs["log_scale"], levels=self.levels
        )
        divergence = ops.mean(gaussian_divergence(outputs["mean"], outputs["log_variance"]))
        return -ops.mean(log_probability), divergence / math.prod(self.backbone.input_shape[1:])

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        surprise, divergence = self._parts(y_pred)
        self.bits.update_state((surprise + divergence) / math.log(2))
        return super().compute_metrics(x, y, y_pred, sample_weight)
