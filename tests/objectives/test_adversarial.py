"""What adversarial objectives share: a copy that is held fixed, made examples, the two figures."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.objectives.conftest import stripes, tiny_backbone
from tftransfer.compilation import default_compile
from tftransfer.objectives import GAN, Autoencoder, BiGAN
from tftransfer.objectives.adversarial import Adversarial, discriminator_loss, fixed, generator_loss

GAMES = [GAN, BiGAN]
games = pytest.mark.parametrize("cls", GAMES, ids=lambda cls: cls.__name__)


def normed():
    return keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3), keras.layers.BatchNormalization(), keras.layers.Dense(1)]
    )


@pytest.mark.compute
def test_what_is_fixed_says_the_same_and_changes_no_statistic():
    model, x = normed(), np.random.default_rng(0).normal(3, 2, (16, 4)).astype("float32")
    before = [np.array(ops.convert_to_numpy(v)) for v in model.variables]
    held = ops.convert_to_numpy(fixed(model, x, training=True))
    for kept, now in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(kept, ops.convert_to_numpy(now))
    np.testing.assert_allclose(held, ops.convert_to_numpy(model(x, training=True)), atol=1e-5)
    moved = [
        np.abs(kept - ops.convert_to_numpy(now)).max()
        for kept, now in zip(before, model.variables, strict=True)
    ]
    assert max(moved) > 0.01  # the call itself did move them


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="about gradients in TensorFlow")
def test_gradient_passes_through_what_is_fixed_and_reaches_none_of_it():
    import tensorflow as tf

    model, x = normed(), tf.constant(np.random.default_rng(0).normal(size=(8, 4)).astype("float32"))
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(tf.square(fixed(model, x, training=True)))
    to_x, *to_weights = tape.gradient(loss, [x, *(v.value for v in model.trainable_variables)])
    assert np.abs(to_x).max() > 0
    assert all(gradient is None for gradient in to_weights)


@pytest.mark.compute
def test_a_discriminator_that_cannot_tell_and_one_that_is_sure():
    zeros, sure = np.zeros((4, 1), "float32"), np.full((4, 1), 50.0, "float32")
    assert float(discriminator_loss(zeros, zeros)) == pytest.approx(2 * np.log(2), rel=1e-6)
    assert float(discriminator_loss(sure, -sure)) == pytest.approx(0, abs=1e-6)
    assert float(discriminator_loss(-sure, sure)) == pytest.approx(100, rel=1e-6)
    assert float(generator_loss(-sure)) == pytest.approx(50, rel=1e-6)  # not saturated: a slope of 1


@games
def test_samples_are_in_0_and_1_and_go_on_with_the_seed(cls):
    made = [cls(tiny_backbone("cnn"), latent_width=4, seed=3) for _ in range(2)]
    made[1].generator_model.set_weights(made[0].generator_model.get_weights())
    first, again = (ops.convert_to_numpy(objective.sample(5)) for objective in made)
    np.testing.assert_array_equal(first, again)
    assert first.shape == (5, 8, 8, 1) and 0 <= first.min() and first.max() <= 1
    assert np.abs(ops.convert_to_numpy(made[0].sample(5)) - first).max() > 0


@games
@pytest.mark.parametrize("weight", [0.0, 10.0])
def test_both_losses_are_reported_and_add_up(cls, weight):
    objective = cls(tiny_backbone("cnn"), latent_width=4, reconstruction_weight=weight)
    objective.compile("sgd")
    scores = objective.evaluate(stripes(), batch_size=32, verbose=0, return_dict=True)
    assert scores["loss"] == pytest.approx(scores["discriminator_loss"] + scores["generator_loss"], rel=1e-5)


@games
@pytest.mark.compute
def test_the_error_of_what_is_given_back_is_part_of_the_loss_and_of_the_configuration(cls):
    objective = cls(tiny_backbone("cnn"), latent_width=4, reconstruction_weight=10.0)
    outputs = objective(stripes(), training=True)
    whole = float(objective.compute_objective(outputs))
    back, target = (ops.convert_to_numpy(outputs.pop(name)) for name in ("reconstruction", "target"))
    np.testing.assert_array_equal(target, stripes())
    assert back.shape == target.shape and 0 <= back.min() and back.max() <= 1
    without = float(objective.compute_objective(outputs))
    assert whole == pytest.approx(without + 10.0 * np.mean((back - target) ** 2), rel=1e-5)
    assert cls.from_config(objective.get_config()).reconstruction_weight == 10.0
    assert "reconstruction" not in cls(tiny_backbone("cnn"), latent_width=4)(stripes())


@games
def test_examples_are_given_back_better_with_training(cls):
    keras.utils.set_random_seed(0)
    objective = cls(tiny_backbone("cnn"), latent_width=4, reconstruction_weight=100.0)
    objective.compile(keras.optimizers.Adam(3e-3, beta_1=0.5), jit_compile=False)

    def error():
        outputs = objective(stripes(), training=True)
        return float(ops.mean(ops.square(outputs["reconstruction"] - outputs["target"])))

    before = error()
    objective.fit(stripes(), batch_size=32, epochs=30, verbose=0)
    assert error() < before / 2


@games
@pytest.mark.parametrize("weight", [-1.0, float("nan")])
def test_bad_weights_of_the_error(cls, weight):
    with pytest.raises(ValueError, match="reconstruction_weight from 0"):
        cls(tiny_backbone("cnn"), latent_width=4, reconstruction_weight=weight)


def test_a_subclass_must_say_its_losses():
    with pytest.raises(NotImplementedError, match="losses_of"):
        Adversarial(tiny_backbone("cnn")).losses_of({})


@games
def test_pretrain_takes_less_momentum_for_a_game(cls):
    objective, other = cls(tiny_backbone("cnn"), latent_width=4), Autoencoder(tiny_backbone("cnn"))
    for each, momentum in ((objective, 0.5), (other, 0.9)):
        default_compile(each, steps=10, say=lambda _: None)
        assert each.optimizer.beta_1 == momentum
