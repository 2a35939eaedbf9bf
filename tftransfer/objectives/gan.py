"""Generative adversarial network: a backbone learns features by telling real examples from made ones."""

import keras
from keras import ops

from tftransfer.layers import example_generator, pool, register
from tftransfer.objectives.adversarial import Adversarial, fixed, generator_loss, unit, unmoved


@register
class GAN(Adversarial):
    """A generator makes examples from noise, and the backbone, as the trunk of the discriminator, tells them from real.

    The oldest way to features without labels by a game, and the one with samples to look at. The features of the
    discriminator serve where labels ask what looks real; for classification the contrastive and masked objectives are
    stronger, and steadier: neither loss here says how far training has come (probe, and look at `sample`).

    One backward pass serves both players: the generator's loss goes through a copy of the discriminator whose
    weights are held fixed, and the discriminator's sees made examples as constants. The backbone's statistics
    (BatchNormalization) are those of real examples.

    `loss = discriminator_loss + γ/2 · gradient_penalty + generator_loss + λ · mean (decoder(features) - x)²`

    Reference: Goodfellow et al., Generative Adversarial Networks, 2014, https://arxiv.org/abs/1406.2661; the
    discriminator's features: Radford et al., DCGAN, 2015, https://arxiv.org/abs/1511.06434; penalty: `gradient_penalty`
    Differs from them in: one optimizer and one rate for both players; the penalty at real examples is that of R1 by a
    finite difference.

    Small data, one GPU: `pooling="mean"` behind a feature map, `reconstruction_weight=100`, and the default rate of
    3e-3, for runs of some hundred steps; a momentum of 0.5 (`beta_1`), as `pretrain` takes it for a game: DCGAN saw
    training swing with Adam's 0.9. A discriminator keeps of an example what tells it from made ones, and soon that
    is little: after 234 steps on 20,000 pictures of Fashion-MNIST (small residual network; random features: k-NN
    0.747, ridge 0.737) λ of 0, 10 and 100 gave a k-NN of 0.734, 0.769 and 0.793 and a ridge probe of 0.727, 0.742
    and 0.763. Without λ the penalty decides, for a discriminator that can hardly tell learns nothing: γ = 1 at
    DCGAN's rate of 2e-4 gave 0.697 and 0.651. Larger pictures ask for more, larger batches for less (Karras et al.,
    2020, https://arxiv.org/abs/2006.06676).

    Args:
        backbone: any built `keras.Model` over examples with values in [0, 1]; with few or no BatchNormalization layers
            the game is steadier.
        latent_width: size of the noise that an example is made from.
        generator: `"auto"` (convolutional for pictures, dense otherwise), `"dense"`, `"convolutional"`, or a
            `keras.Model` of your own from noise `(batch, latent_width)` to examples, before their sigmoid.
        penalty_weight: γ; 0 for none.
        penalty_noise: σ, deviation of the noise that the penalty adds to real examples.
        reconstruction_weight: λ of the squared error with which a small decoder gives real examples back from the
            pooled features: a discriminator that must keep the whole example (Liu et al., FastGAN, 2021,
            https://arxiv.org/abs/2101.04775). 0, the first paper's: no decoder.
        pooling: what the discriminator tells by: `"flatten"`, all features, or their `"mean"` or `"max"`, which is what
            a probe and a classifier will read.
        seed: seed of all noise.

    Input: a batch of examples.
    Output: `{"real", "made", "made_fixed"}`, logits `(batch, 1)` of real examples, of made ones held constant, and of
    made ones with the discriminator held constant; with a penalty `"noisy"`, of real examples with noise; with
    λ the examples `"reconstruction"` and `"target"`.

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
        penalty_weight=0.003,
        penalty_noise=0.05,
        reconstruction_weight=0.0,
        pooling="flatten",
        seed=0,
        **kwargs,
    ):
        super().__init__(
            backbone,
            latent_width=latent_width,
            generator=generator,
            penalty_weight=penalty_weight,
            penalty_noise=penalty_noise,
            reconstruction_weight=reconstruction_weight,
            seed=seed,
            **kwargs,
        )
        self.pooling = pooling
        pooled = pool(backbone.output_shape, kind=pooling)(backbone.outputs[0])
        logit = keras.layers.Dense(1, name="head")(pooled)
        self.discriminator = keras.Model(backbone.inputs, logit, name="discriminator")
        self.decoder_model = None
        if reconstruction_weight:
            self.reader = keras.Model(backbone.inputs, [logit, pooled], name="reader")
            self.decoder_model = example_generator("auto", pooled.shape[-1], backbone.input_shape[1:])

    def call(self, inputs, training=None):
        real = ops.cast(inputs, "float32")
        rows = ops.shape(real)[0]
        made = self.make(self.noise((self.latent_width,), rows), training)
        outputs = self._read(real, training) | {
            "made": unmoved(self.discriminator, ops.stop_gradient(made), training),
            "made_fixed": fixed(self.discriminator, made, training),
        }
        if self.penalty_weight:
            outputs["noisy"] = unmoved(self.discriminator, self.noisy(real), training)
        return outputs

    def _read(self, real, training):
        if self.decoder_model is None:
            return {"real": self.discriminator(real, training=training)}
        logit, features = self.reader(real, training=training)
        back = unit(self.decoder_model(features, training=training))
        return {"real": logit, "reconstruction": back, "target": real}

    def losses_of(self, outputs):
        return self.telling(outputs) + self.rebuilding(outputs), generator_loss(outputs["made_fixed"])
