"""BiGAN: who learns from what, and codes that come back."""

import keras
import numpy as np
import pytest

from tests.objectives.conftest import stripes, tiny_backbone
from tftransfer import backbones
from tftransfer.objectives import BiGAN


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="about gradients in TensorFlow")
def test_each_player_learns_from_its_own_loss_alone():
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    objective = BiGAN(tiny_backbone("cnn"), latent_width=4)
    told = [v.value for v in objective.discriminator.trainable_variables]
    players = [
        v.value for part in (objective.encoder, objective.generator_model) for v in part.trainable_variables
    ]
    with tf.GradientTape(persistent=True) as tape:
        telling, making = objective.losses_of(objective(stripes(), training=True))
    assert all(g is None for g in tape.gradient(making, told))
    assert all(g is None for g in tape.gradient(telling, players))
    assert all(g is not None and np.abs(g).max() > 0 for g in tape.gradient(telling, told))
    assert all(g is not None and np.abs(g).max() > 0 for g in tape.gradient(making, players))


@pytest.mark.compute
def test_losses_by_hand():
    draw = np.random.default_rng(0)
    logits = {name: draw.normal(size=(6, 1)) for name in ("real", "made", "real_fixed", "made_fixed")}
    telling, making = BiGAN(tiny_backbone("cnn"), latent_width=4).losses_of(logits)
    softplus = lambda v: np.log1p(np.exp(v)).mean()  # noqa: E731
    assert float(telling) == pytest.approx(softplus(-logits["real"]) + softplus(logits["made"]), rel=1e-6)
    expected = softplus(logits["real_fixed"]) + softplus(-logits["made_fixed"])
    assert float(making) == pytest.approx(expected, rel=1e-6)


def test_the_encoder_undoes_the_generator():
    """On rows of one hidden number: the code of a made row tells the noise that it was made from."""
    keras.utils.set_random_seed(0)
    hidden = np.random.default_rng(0).normal(size=(512, 1))
    rows = (1 / (1 + np.exp(-hidden * [1.5, -1.0, 0.5]))).astype("float32")
    objective = BiGAN(backbones.mlp((3,), units=(64,)), latent_width=1)
    objective.compile(keras.optimizers.Adam(1e-3, beta_1=0.5), jit_compile=False)

    def correlation():
        noise = np.random.default_rng(1).normal(size=(256, 1)).astype("float32")
        codes = np.asarray(objective.encode(objective.make(noise, training=False), training=False))
        return abs(np.corrcoef(codes[:, 0], noise[:, 0])[0, 1])

    objective.fit(rows, batch_size=64, epochs=120, verbose=0)
    assert correlation() > 0.9
    assert np.abs(np.asarray(objective.sample(512)).mean(axis=0) - rows.mean(axis=0)).max() < 0.15


def test_the_discriminator_has_weights_of_its_own():
    objective = BiGAN(tiny_backbone("cnn"), latent_width=4)
    shared = {id(v) for v in objective.encoder.variables} & {id(v) for v in objective.discriminator.variables}
    assert not shared
    with pytest.raises(ValueError, match="latent_width"):
        BiGAN(tiny_backbone("cnn"), latent_width=0)


@pytest.mark.compute
def test_a_penalty_is_part_of_the_loss_and_of_the_configuration():
    objective = BiGAN(tiny_backbone("cnn"), latent_width=4, penalty_weight=0.5, penalty_noise=0.1)
    again = BiGAN.from_config(objective.get_config())
    assert (again.penalty_weight, again.penalty_noise) == (0.5, 0.1)
    outputs = objective(stripes(), training=True)
    with_it, _ = objective.losses_of(outputs)
    penalty = np.mean(((np.asarray(outputs["noisy"]) - np.asarray(outputs["real"])) / 0.1) ** 2)
    without, _ = objective.losses_of({k: v for k, v in outputs.items() if k != "noisy"})
    assert penalty > 0
    assert float(with_it) == pytest.approx(float(without) + 0.25 * penalty, rel=1e-5)
