"""Bidirectional GAN: an encoder learns to undo a generator, by a game over pairs of an example and its code."""

import keras
from keras import ops

from tftransfer.layers import pool, register
from tftransfer.objectives.adversarial import Adversarial, fixed, generator_loss, unit, unmoved


@register
class BiGAN(Adversarial):
    """The discriminator sees an example together with a code: `(x, E(x))` is real, `(G(z), z)` is made.

    Where it can no longer tell them apart, the encoder is the generator's inverse; the encoder's trunk is the backbone.
    The way from a GAN to an encoder of its own, where `GAN` takes the discriminator's features. Neither loss says how
    far training has come: probe, look at `sample`, and at how well examples come back from their codes.

    `loss = discriminator_loss + mean softplus(D(x, E(x))) + mean softplus(-D(G(z), z)) + λ · mean (G(E(x)) - x)²`

    Reference: Donahue et al., Adversarial Feature Learning, 2016, https://arxiv.org/abs/1605.09782; the same game:
    Dumoulin et al., Adversarially Learned Inference, 2016, https://arxiv.org/abs/1606.00704
    Differs from them in: one optimizer and one rate for all players; the discriminator reads examples by a second
    network of the backbone's architecture.

    Small data, one GPU: `pooling="mean"` behind a feature map, `penalty_weight=1` and `reconstruction_weight=100`
    at the default rate of 3e-3; a momentum of 0.5 (`beta_1`), as `pretrain` takes it for a game. The paper's game
    alone needs hundreds of epochs: after 234 steps on 20,000 pictures of Fashion-MNIST (small residual network;
    random features: k-NN 0.747, ridge 0.737) the penalty alone gave 0.652 and 0.626, both 0.786 and 0.764, and the
    error of what is given back without a penalty, at the paper's rate of 2e-4, 0.741 and 0.691: there the
    discriminator is sure, and its gradients drown the rest. Codes of 50 numbers and batches of 128 are the paper's
    for MNIST.

    Args:
        backbone: the encoder's trunk: any built `keras.Model` over examples with values in [0, 1] that can be rebuilt
            from its configuration.
        latent_width: size of a code.
        generator: `"auto"` (convolutional for pictures, dense otherwise), `"dense"`, `"convolutional"`, or a
            `keras.Model` of your own from codes `(batch, latent_width)` to examples, before their sigmoid.
        pooling: what the code is made from: `"flatten"`, all features, or their `"mean"` or `"max"`.
        penalty_weight: γ of the penalty on the discriminator at real pairs, as in `GAN`; 0, the paper's: none.
        penalty_noise: σ, deviation of the noise that the penalty adds to real examples and their codes.
        reconstruction_weight: λ of the squared error of `G(E(x))` against `x` (Li et al., ALICE, 2017,
            https://arxiv.org/abs/1709.01215): without it the game leaves open which code an example gets. 0, the first
            paper's: none.
        seed: seed of all noise.

    Input: a batch of examples.
    Output: `{"real", "made"}`, logits `(batch, 1)` of both kinds of pairs with encoder and generator held constant, and
    `{"real_fixed", "made_fixed"}`, the same with the discriminator held constant; with λ the examples
    `"reconstruction"` and `"target"`.

    Raises:
        ValueError: for a size out of range, or a generator of another shape.

    Example:

    >>> from tftransfer import backbones
    >>> objective = BiGAN(backbones.cnn((8, 8, 1), filters=(8, 16)), latent_width=4)
    >>> objective.compile("adam")
    >>> history = objective.fit(keras.random.uniform((16, 8, 8, 1)), verbose=0)
    >>> tuple(objective.encode(keras.random.uniform((3, 8, 8, 1))).shape)
    (3, 4)
    """

    def __init__(
        self,
        backbone,
        *,
        latent_width=64,
        generator="auto",
        penalty_weight=0.0,
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
        code = keras.layers.Dense(latent_width, name="code")
        self.pooling = pooling
        pooled = pool(backbone.output_shape, kind=pooling)(backbone.outputs[0])
        self.encoder = keras.Model(backbone.inputs, code(pooled), name="encoder")
        reader = type(backbone).from_config(backbone.get_config())
        seen = pool(reader.output_shape, kind="flatten")(reader.outputs[0])
        codes = keras.Input((latent_width,), name="codes")
        width = max(64, 2 * latent_width)
        x = keras.layers.Concatenate(name="pair")(
            [
                keras.layers.Dense(width, name="example_width")(seen),
                keras.layers.Dense(width, name="code_width")(codes),
            ]
        )
        x = keras.layers.LeakyReLU(0.2, name="leak_0")(x)
        x = keras.layers.LeakyReLU(0.2, name="leak_1")(keras.layers.Dense(width, name="hidden")(x))
        logits = keras.layers.Dense(1, name="logit")(x)
        self.discriminator = keras.Model([reader.inputs[0], codes], logits, name="discriminator")

    def encode(self, examples, training=None):
        """Codes `(batch, latent_width)` of examples."""
        return ops.cast(self.encoder(examples, training=training), "float32")

    def call(self, inputs, training=None):
        real = ops.cast(inputs, "float32")
        codes = self.encode(real, training)
        noise = self.noise((self.latent_width,), ops.shape(real)[0])
        made = self.make(noise, training)
        outputs = {
            "real": self.discriminator([real, ops.stop_gradient(codes)], training=training),
            "made": self.discriminator([ops.stop_gradient(made), noise], training=training),
            "real_fixed": fixed(self.discriminator, [real, codes], training),
            "made_fixed": fixed(self.discriminator, [made, noise], training),
        }
        if self.penalty_weight:
            pair = [self.noisy(real), self.noisy(ops.stop_gradient(codes))]
            outputs["noisy"] = self.discriminator(pair, training=training)
        if self.reconstruction_weight:
            back = unit(unmoved(self.generator_model, codes, training))
            outputs |= {"reconstruction": back, "target": real}
        return outputs

    def losses_of(self, outputs):
        making = generator_loss(outputs["made_fixed"]) + generator_loss(-outputs["real_fixed"])
        return self.telling(outputs), making + self.rebuilding(outputs)
