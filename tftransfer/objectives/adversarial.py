"""What adversarial objectives share: a generator, a discriminator that can be held fixed, and the two losses."""

import keras
from keras import ops

from tftransfer import placement
from tftransfer.layers import check_unit_pixels, example_generator
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


class Adversarial(Objective):
    """Base of the objectives that are a game between a generator and a discriminator.

    One backward pass serves both players: what the generator learns from goes through `fixed`, a copy of the
    discriminator through whose weights no gradient flows, and what the discriminator learns from sees made examples as
    constants. A subclass says `losses_of(outputs)`: the discriminator's and the generator's.

    Args:
        backbone: any built `keras.Model` over examples with values in [0, 1].
        latent_width: size of the noise that an example is made from.
        generator: `"auto"` (convolutional for pictures, dense otherwise), `"dense"`, `"convolutional"`, or a
            `keras.Model` of your own from noise `(batch, latent_width)` to examples, before their sigmoid.
        seed: seed of all noise.

    Raises:
        ValueError: for a size out of range, a generator of another shape, or a backbone that reads 0 to 255.
    """

    default_learning_rate = 2e-4
    default_momentum = 0.5  # DCGAN's: with more the game swings
    default_weight_decay = 0.0
    value_range = (0.0, 1.0)

    def __init__(self, backbone, *, latent_width=64, generator="auto", seed=0, **kwargs):
        if latent_width < 1:
            raise ValueError(f"latent_width is a whole number from 1 up; received {latent_width}.")
        super().__init__(backbone, **kwargs)
        check_unit_pixels(backbone, objective=type(self).__name__)
        self.latent_width = latent_width
        self.generator = generator
        self.seed = seed
        self.random = keras.random.SeedGenerator(seed)
        self.generator_model = example_generator(generator, latent_width, backbone.input_shape[1:])
        self.tellings = keras.metrics.Mean(name="discriminator_loss")
        self.makings = keras.metrics.Mean(name="generator_loss")

    def losses_of(self, outputs):
        """`(discriminator's loss, generator's loss)`, float32 scalars."""
        raise NotImplementedError("An adversarial objective's losses_of(outputs) returns two scalars.")

    def noise(self, shape, rows):
        """Normal noise `(rows, *shape)`, float32."""
        return placement.per_example(
            lambda n: keras.random.normal((n, *shape), dtype="float32", seed=self.random), rows
        )

    def make(self, noise, training=None):
        """Examples made from noise `(batch, latent_width)`, values in [0, 1]."""
        return ops.sigmoid(ops.cast(self.generator_model(noise, training=training), "float32"))

    def sample(self, count):
        """Examples made from `count` draws of noise, `(count, …)`, values in [0, 1]."""
        noise = keras.random.normal((count, self.latent_width), dtype="float32", seed=self.random)
        return self.make(noise, training=False)

    def compute_objective(self, outputs):
        telling, making = self.losses_of(outputs)
        return telling + making

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        telling, making = self.losses_of(y_pred)
        self.tellings.update_state(telling)
        self.makings.update_state(making)
        return super().compute_metrics(x, y, y_pred, sample_weight)


def fixed(model, inputs, training=None):
    """What `model` says, with weights through which no gradient flows and statistics that stay as they are."""
    outputs, _ = model.stateless_call(
        [ops.stop_gradient(v.value) for v in model.trainable_variables],
        [v.value for v in model.non_trainable_variables],
        inputs,
        training=training,
    )
    return outputs
