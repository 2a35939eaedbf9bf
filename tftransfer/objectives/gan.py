"""Generative adversarial network: a backbone learns features by telling real examples from made ones."""

import keras
from keras import ops

from tftransfer.layers import pool, register
from tftransfer.objectives.adversarial import Adversarial, discriminator_loss, fixed, generator_loss


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
class GAN(Adversarial):
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

    Small data, one GPU: batches of 128, DCGAN's. A momentum of 0.5 (`beta_1`), as `pretrain` takes it for a game; DCGAN
    saw training swing with Adam's 0.9.

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
        if penalty_weight < 0 or not penalty_noise > 0:
            raise ValueError(
                f"GAN takes penalty_weight from 0 and penalty_noise above 0; received {penalty_weight} and "
                f"{penalty_noise}."
            )
        super().__init__(backbone, latent_width=latent_width, generator=generator, seed=seed, **kwargs)
        self.penalty_weight = penalty_weight
        self.penalty_noise = penalty_noise
        pooling = pool(backbone.output_shape, kind="flatten")
        head = keras.layers.Dense(1, name="head")
        self.discriminator = keras.Model(
            backbone.inputs, head(pooling(backbone.outputs[0])), name="discriminator"
        )

    def call(self, inputs, training=None):
        real = ops.cast(inputs, "float32")
        rows = ops.shape(real)[0]
        made = self.make(self.noise((self.latent_width,), rows), training)
        outputs = {
            "real": self.discriminator(real, training=training),
            "made": self.discriminator(ops.stop_gradient(made), training=training),
            "made_fixed": fixed(self.discriminator, made, training),
        }
        if self.penalty_weight:
            noise = self.noise(tuple(real.shape[1:]), rows)
            outputs["noisy"] = self.discriminator(real + self.penalty_noise * noise, training=training)
        return outputs

    def losses_of(self, outputs):
        telling = discriminator_loss(outputs["real"], outputs["made"])
        if "noisy" in outputs:
            penalty = gradient_penalty(outputs["real"], outputs["noisy"], self.penalty_noise)
            telling = telling + 0.5 * self.penalty_weight * penalty
        return telling, generator_loss(outputs["made_fixed"])
