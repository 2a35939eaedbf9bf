"""Generative adversarial network: a backbone learns features by telling real examples from made ones."""

import keras
from keras import ops

from tftransfer import placement
from tftransfer.layers import example_decoder, pool, register
from tftransfer.objectives.objective import Objective


def discriminator_loss(real, fake):
    """`mean softplus(-D(x)) + mean softplus(D(G(z)))`: the binary cross-entropy of real against made.

    Args:
        real, fake: logits `(batch, 1)` of real and of made examples.

    Returns:
        Float32 scalar; `2 log 2` for a discriminator that cannot tell.

    Example:

    >>> round(float(discriminator_loss(ops.zeros((2, 1)), ops.zeros((2, 1)))), 4)
    1.3863
    """
    real, fake = ops.cast(real, "float32"), ops.cast(fake, "float32")
    return ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake))


def generator_loss(fake):
    """The non-saturating loss `mean softplus(-D(G(z)))`, whose gradient does not vanish while D is sure.

    Example:

    >>> round(float(generator_loss(ops.zeros((2, 1)))), 4)
    0.6931
    """
    return ops.mean(ops.softplus(-ops.cast(fake, "float32")))


def gradient_penalty(real, noisy, sigma):
    """`mean ((D(x + σ n) − D(x)) / σ)²`: for small σ the mean of `‖∇D(x)‖²`, without a second derivative.

    Reference: Mescheder et al., Which Training Methods for GANs do actually Converge? (R1), 2018,
    https://arxiv.org/abs/1801.04406; in this form: Lin et al., Diffusion Adversarial Post-Training, 2025,
    https://arxiv.org/abs/2501.08316

    Example:

    >>> round(float(gradient_penalty(ops.zeros((2, 1)), ops.ones((2, 1)), 0.5)), 4)
    4.0
    """
    difference = ops.cast(noisy, "float32") - ops.cast(real, "float32")
    return ops.mean(ops.square(difference / sigma))


@register
class GAN(Objective):
    """A generator makes examples from noise, and the backbone, as the trunk of the discriminator, tells them from real.

    The oldest way to features without labels by a game, and the one with samples to look at. The features of the
    discriminator serve where labels ask what looks real; for classification the contrastive and masked objectives are
    stronger, and steadier: neither loss here says how far training has come (probe, and look at `sample`).

    One backward pass serves both players: the generator's loss goes through a copy of the discriminator whose
    weights are held fixed, and the discriminator's sees made examples as constants.

    `loss = discriminator_loss + γ/2 · gradient_penalty + generator_loss`

    Reference: Goodfellow et al., Generative Adversarial Networks, 2014, https://arxiv.org/abs/1406.2661; the
    discriminator's features: Radford et al., DCGAN, 2015, https://arxiv.org/abs/1511.06434; penalty: `gradient_penalty`
    Differs from them in: one optimizer and one rate for both players; the penalty at real examples is that of R1 by a
    finite difference.

    Args:
        backbone: any built `keras.Model` over examples with values in [0, 1]; with few or no BatchNormalization layers
            the game is steadier.
        latent_width: size of the noise that an example is made from.
        generator: `"auto"` (convolutional for pictures, dense otherwise), `"dense"`, `"convolutional"`, or a
            `keras.Model` of your own from noise `(batch, latent_width)` to examples, before their sigmoid.
        penalty_weight: γ; 0 for none.
        penalty_noise: σ, deviation of the noise that the penalty adds to real examples.
        seed: seed of all noise.

    Input: a batch of examples.
    Output: `{"real", "made", "made_fixed"}`, logits `(batch, 1)` of real examples, of made ones held constant, and of
    made ones with the discriminator held constant; with a penalty `"noisy"`, of real examples with noise.

    Raises:
        ValueError: for sizes or weights out of range, or a generator of another shape.

    Example:

    >>> from tftransfer import backbones
    >>> objective = GAN(backbones.cnn((8, 8, 1), filters=(8, 16)), latent_width=4)
    >>> objective.compile("adam")
    >>> history = objective.fit(keras.random.uniform((16, 8, 8, 1)), verbose=0)
    >>> sorted(history.history)
    ['discriminator_loss', 'generator_loss', 'loss']
    >>> tuple(objective.sample(3).shape)
    (3, 8, 8, 1)
    """

    default_learning_rate = 2e-4
    default_weight_decay = 0.0

    def __init__(
        self,
        backbone,
        *,
        latent_width=64,
        generator="auto",
        penalty_weight=1.0,
        penalty_noise=0.05,
        seed=0,
        **kwargs,
    ):
        if latent_width < 1 or penalty_weight < 0 or not penalty_noise > 0:
            raise ValueError(
                f"GAN takes latent_width from 1, penalty_weight from 0 and penalty_noise above 0; received "
                f"latent_width={latent_width}, penalty_weight={penalty_weight}, penalty_noise={penalty_noise}."
            )
        super().__init__(backbone, **kwargs)
        self.latent_width = latent_width
        self.generator = generator
        self.penalty_weight = penalty_weight
        self.penalty_noise = penalty_noise
        self.seed = seed
        self.random = keras.random.SeedGenerator(seed)
        example_shape = tuple(backbone.input_shape[1:])
        if generator == "auto":
            generator = "convolutional" if len(example_shape) == 3 else "dense"
        self.generator_model = example_decoder(generator, (latent_width,), example_shape)
        self.pool = pool(backbone.output_shape, kind="flatten")
        embedding = self.pool.compute_output_shape(backbone.output_shape)[-1]
        self.head = keras.layers.Dense(1, name="head")
        self.head.build((None, embedding))
        self.tellings = keras.metrics.Mean(name="discriminator_loss")
        self.makings = keras.metrics.Mean(name="generator_loss")

    def call(self, inputs, training=None):
        real = ops.cast(inputs, "float32")
        made = self._make(self._noise((self.latent_width,), ops.shape(real)[0]), training)
        outputs = {
            "real": self._tell(real, training),
            "made": self._tell(ops.stop_gradient(made), training),
            "made_fixed": self._tell_fixed(made, training),
        }
        if self.penalty_weight:
            noise = self._noise(tuple(real.shape[1:]), ops.shape(real)[0])
            outputs["noisy"] = self._tell(real + self.penalty_noise * noise, training)
        return outputs

    def _noise(self, shape, rows):
        return placement.per_example(
            lambda n: keras.random.normal((n, *shape), dtype="float32", seed=self.random), rows
        )

    def _make(self, noise, training=None):
        return ops.sigmoid(ops.cast(self.generator_model(noise, training=training), "float32"))

    def _tell(self, examples, training):
        return self.head(self.pool(self.backbone(examples, training=training)))

    def _tell_fixed(self, examples, training):
        """The same, with weights through which no gradient flows, and statistics that stay as they are."""
        features, _ = self.backbone.stateless_call(
            [ops.stop_gradient(v.value) for v in self.backbone.trainable_variables],
            [v.value for v in self.backbone.non_trainable_variables],
            examples,
            training=training,
        )
        kernel, bias = (
            ops.stop_gradient(ops.cast(v.value, features.dtype)) for v in self.head.trainable_variables
        )
        return ops.matmul(self.pool(features), kernel) + bias

    def sample(self, count):
        """Examples made from `count` draws of noise, `(count, …)`, values in [0, 1]."""
        return self._make(keras.random.normal((count, self.latent_width), seed=self.random), training=False)

    def compute_objective(self, outputs):
        return self._discriminator(outputs) + generator_loss(outputs["made_fixed"])

    def _discriminator(self, outputs):
        loss = discriminator_loss(outputs["real"], outputs["made"])
        if "noisy" in outputs:
            penalty = gradient_penalty(outputs["real"], outputs["noisy"], self.penalty_noise)
            loss = loss + 0.5 * self.penalty_weight * penalty
        return loss

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        self.tellings.update_state(self._discriminator(y_pred))
        self.makings.update_state(generator_loss(y_pred["made_fixed"]))
        return super().compute_metrics(x, y, y_pred, sample_weight)
