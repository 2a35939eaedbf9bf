"""The adversarial game: formulas, who learns from what, and a distribution that it finds."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.objectives.conftest import stripes, tiny_backbone
from tftransfer import backbones
from tftransfer.objectives import GAN, BiGAN
from tftransfer.objectives.adversarial import discriminator_loss, generator_loss, gradient_penalty

tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="about gradients in TensorFlow"
)


@pytest.mark.compute
def test_losses_are_the_cross_entropies():
    draw = np.random.default_rng(0)
    real, made = draw.normal(size=(6, 1)), draw.normal(size=(6, 1))
    probability = {"real": 1 / (1 + np.exp(-real)), "made": 1 / (1 + np.exp(-made))}
    told = -np.log(probability["real"]).mean() - np.log(1 - probability["made"]).mean()
    assert float(discriminator_loss(real, made)) == pytest.approx(told, rel=1e-6)
    assert float(generator_loss(made)) == pytest.approx(-np.log(probability["made"]).mean(), rel=1e-6)


@pytest.mark.compute
def test_penalty_is_the_squared_gradient_of_a_linear_discriminator():
    draw = np.random.default_rng(0)
    slope, x, noise = draw.normal(size=(5, 1)), draw.normal(size=(4000, 5)), draw.normal(size=(4000, 5))
    found = float(gradient_penalty(x @ slope, (x + 0.05 * noise) @ slope, 0.05))
    assert found == pytest.approx(float(np.sum(slope**2)), rel=0.1)  # the mean of 4000 draws


@pytest.mark.compute
def test_losses_by_hand():
    draw = np.random.default_rng(0)
    logits = {name: draw.normal(size=(6, 1)) for name in ("real", "made", "made_fixed", "noisy")}
    objective = GAN(tiny_backbone("cnn"), latent_width=4, penalty_weight=10.0, penalty_noise=0.1)
    telling, making = (float(loss) for loss in objective.losses_of(logits))
    softplus = lambda v: np.log1p(np.exp(v)).mean()  # noqa: E731
    penalty = (((logits["noisy"] - logits["real"]) / 0.1) ** 2).mean()
    expected = softplus(-logits["real"]) + softplus(logits["made"]) + 10.0 / 2 * penalty
    assert telling == pytest.approx(expected, rel=1e-5)
    assert making == pytest.approx(softplus(-logits["made_fixed"]), rel=1e-6)
    assert float(objective.compute_objective(logits)) == pytest.approx(telling + making, rel=1e-6)


@tensorflow_only
def test_each_player_learns_from_its_own_loss_alone():
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    objective = GAN(tiny_backbone("cnn"), latent_width=4)
    told = [v.value for v in objective.discriminator.trainable_variables]
    made = [v.value for v in objective.generator_model.trainable_variables]
    with tf.GradientTape(persistent=True) as tape:
        outputs = objective(stripes(), training=True)
        telling, making = objective.losses_of(outputs)
    assert all(g is None for g in tape.gradient(making, told))
    assert all(g is None for g in tape.gradient(telling, made))
    assert all(np.abs(g).max() > 0 for g in tape.gradient(telling, told))
    assert all(np.abs(g).max() > 0 for g in tape.gradient(making, made))


@pytest.mark.compute
def test_the_fixed_copy_says_the_same():
    keras.utils.set_random_seed(0)
    objective = GAN(tiny_backbone("cnn"), latent_width=4)
    outputs = objective(stripes(), training=False)
    np.testing.assert_allclose(outputs["made"], outputs["made_fixed"], atol=1e-5)


@pytest.mark.compute
@pytest.mark.parametrize("cls", [GAN, BiGAN])
def test_the_statistics_of_the_backbone_are_those_of_real_examples(cls):
    norm = keras.layers.BatchNormalization(momentum=0.9)
    objective = cls(keras.Sequential([keras.Input((2,)), norm, keras.layers.Dense(3)]), latent_width=4)
    objective(np.full((8, 2), 0.75, "float32"), training=True)
    np.testing.assert_allclose(norm.moving_mean, [0.1 * 0.75] * 2, rtol=1e-5)


@pytest.mark.parametrize("cls", [GAN, BiGAN])
@pytest.mark.parametrize(("pooling", "width"), [("mean", 8), ("max", 8), ("flatten", 32)])
def test_may_tell_by_one_vector_an_example(cls, pooling, width):
    objective = cls(tiny_backbone("cnn"), pooling=pooling)
    reading = objective.discriminator if cls is GAN else objective.encoder
    assert reading.layers[-1].kernel.shape[0] == width
    assert cls.from_config(objective.get_config()).pooling == pooling


def test_the_generator_finds_a_distribution():
    keras.utils.set_random_seed(0)
    rows = np.random.default_rng(0).normal([0.75, 0.3], 0.05, size=(256, 2)).astype("float32")
    objective = GAN(backbones.mlp((2,), units=(32, 32)), latent_width=2, penalty_weight=0.1)
    objective.compile(keras.optimizers.Adam(2e-3, beta_1=0.5), jit_compile=False)
    before = np.asarray(objective.sample(256)).mean(axis=0)
    objective.fit(rows, batch_size=64, epochs=100, verbose=0)
    after = np.asarray(objective.sample(256)).mean(axis=0)
    assert np.abs(before - [0.75, 0.3]).max() > 0.15
    assert np.abs(after - [0.75, 0.3]).max() < 0.1


def test_no_penalty_costs_no_pass():
    objective = GAN(tiny_backbone("cnn"), latent_width=4, penalty_weight=0)
    assert set(objective(stripes()[:2])) == {"real", "made", "made_fixed"}


@pytest.mark.parametrize("options", ({"latent_width": 0}, {"penalty_weight": -1.0}, {"penalty_noise": 0.0}))
def test_bad_settings(options):
    with pytest.raises(ValueError, match=r"GAN takes|latent_width"):
        GAN(tiny_backbone("cnn"), **options)


def test_another_generator_must_make_examples():
    wrong = keras.Sequential([keras.Input((4,)), keras.layers.Dense(7)])
    with pytest.raises(ValueError, match="shape"):
        GAN(tiny_backbone("cnn"), latent_width=4, generator=wrong)
    right = keras.Sequential([keras.Input((4,)), keras.layers.Dense(64), keras.layers.Reshape((8, 8, 1))])
    assert tuple(ops.shape(GAN(tiny_backbone("cnn"), latent_width=4, generator=right).sample(2))) == (
        2,
        8,
        8,
        1,
    )
