"""What adversarial objectives share: a generator, a discriminator that can be held fixed, and the two losses."""

import keras
from keras import ops

from tftransfer import placement
from tftransfer.layers import check_unit_pixels, example_generator, reconstruction_error
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
        penalty_weight: γ; 0 for none.
        penalty_noise: σ, deviation of the noise that the penalty adds to real examples.
        reconstruction_weight: λ of the squared error of examples given back; 0 for none.
        seed: seed of all noise.

    Raises:
        ValueError: for a size or weight out of range, a generator of another shape, or a backbone that reads 0 to 255.
    """

    default_learning_rate = 3e-3  # small models, short runs; DCGAN's 2e-4 is for tens of thousands of steps
    default_momentum = 0.5  # DCGAN's: with more the game swings
    default_weight_decay = 0.0
    value_range = (0.0, 1.0)

    def __init__(
        self,
        backbone,
        *,
        latent_width=64,
        generator="auto",
        penalty_weight=0.0,
        penalty_noise=0.05,
        reconstruction_weight=0.0,
        seed=0,
        **kwargs,
    ):
        if latent_width < 1:
            raise ValueError(f"latent_width is a whole number from 1 up; received {latent_width}.")
        if not (penalty_weight >= 0 and reconstruction_weight >= 0 and penalty_noise > 0):
            raise ValueError(
                f"{type(self).__name__} takes penalty_weight and reconstruction_weight from 0 and penalty_noise above "
                f"0; received {penalty_weight}, {reconstruction_weight} and {penalty_noise}."
            )
        super().__init__(backbone, **kwargs)
        check_unit_pixels(backbone, objective=type(self).__name__)
        self.latent_width = latent_width
        self.generator = generator
        self.penalty_weight = penalty_weight
        self.penalty_noise = penalty_noise
        self.reconstruction_weight = reconstruction_weight
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

    def noisy(self, values):
        """Values with normal noise of deviation `penalty_noise`."""
        return values + self.penalty_noise * self.noise(tuple(values.shape[1:]), ops.shape(values)[0])

    def telling(self, outputs):
        """The discriminator's loss; with logits of `"noisy"` real examples, their penalty is in it."""
        loss = discriminator_loss(outputs["real"], outputs["made"])
        if "noisy" not in outputs:
            return loss
        penalty = gradient_penalty(outputs["real"], outputs["noisy"], self.penalty_noise)
        return loss + 0.5 * self.penalty_weight * penalty

    def rebuilding(self, outputs):
        """λ times the squared error of `"reconstruction"`, the real examples given back; 0 where there is none."""
        if "reconstruction" not in outputs:
            return 0.0
        return self.reconstruction_weight * reconstruction_error(outputs["reconstruction"], outputs["target"])

    def make(self, noise, training=None):
        """Examples made from noise `(batch, latent_width)`, values in [0, 1]."""
        return unit(self.generator_model(noise, training=training))

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


def unit(values):
    """Examples in [0, 1], float32, from what a generator or a decoder draws before its sigmoid."""
    return ops.sigmoid(ops.cast(values, "float32"))


def fixed(model, inputs, training=None):
    """What `model` says, with weights through which no gradient flows and statistics that stay as they are."""
    return _said(model, [ops.stop_gradient(v.value) for v in model.trainable_variables], inputs, training)


def unmoved(model, inputs, training=None):
    """What `model` says, with statistics that stay as they are: those of BatchNormalization are of real examples."""
    return _said(model, [v.value for v in model.trainable_variables], inputs, training)


def _said(model, weights, inputs, training):
    others = [v.value for v in model.non_trainable_variables]
    return model.stateless_call(weights, others, inputs, training=training)[0]
