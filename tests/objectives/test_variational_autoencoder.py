"""The variational autoencoder's two terms against NumPy, closed forms, warm-up and bits."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from tests.objectives.conftest import tiny_backbone
from tftransfer.objectives import VariationalAutoencoder
from tftransfer.objectives.variational_autoencoder import discretized_logistic, gaussian_divergence

pytestmark = pytest.mark.compute


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_likelihood_equals_the_difference_of_the_distribution_function():
    draw = np.random.default_rng(0)
    x, mu, log_s = draw.integers(1, 15, 40) / 15, draw.random(40), draw.uniform(-3, 0, 40)
    s = np.exp(log_s)
    expected = np.log(sigmoid((x + 0.5 / 15 - mu) / s) - sigmoid((x - 0.5 / 15 - mu) / s))
    found = ops.convert_to_numpy(discretized_logistic(x, mu, log_s, levels=16))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("log_scale", [-6.0, -2.0, 1.0])
@pytest.mark.parametrize("levels", [2, 256])
def test_probabilities_of_all_levels_sum_to_one(levels, log_scale):
    values = np.arange(levels, dtype="float32") / (levels - 1)
    log_p = discretized_logistic(values, np.full(levels, 0.37, "float32"), log_scale, levels=levels)
    assert float(ops.sum(ops.exp(log_p))) == pytest.approx(1, rel=1e-3)


def test_divergence_equals_the_closed_form_and_an_integral():
    m, v = 0.7, 0.3
    x = np.linspace(-12, 12, 200001)
    q = np.exp(-((x - m) ** 2) / (2 * v)) / math.sqrt(2 * math.pi * v)
    p = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    integral = np.sum(np.where(q > 0, q * np.log(np.maximum(q, 1e-300) / p), 0)) * (x[1] - x[0])
    found = ops.convert_to_numpy(gaussian_divergence([[m, m]], [[math.log(v)] * 2]))
    assert found[0] == pytest.approx(2 * integral, rel=1e-4)
    assert float(gaussian_divergence(np.zeros((1, 4)), np.zeros((1, 4)))[0]) == 0


def test_loss_is_the_bound_in_numpy_float64(pictures):
    """Equation 3 of Kingma & Welling (2013), β and warm-up in front of the divergence, for each value of an example."""
    objective = VariationalAutoencoder(
        tiny_backbone("cnn"), latent_width=3, beta=0.7, warmup_steps=10, levels=16
    )
    objective.count.steps.assign(4)
    outputs = objective(pictures, training=True)
    found = float(objective.compute_objective(outputs))
    values = {name: ops.convert_to_numpy(v).astype("float64") for name, v in outputs.items()}
    x, mu, s = values["target"], values["location"], np.exp(values["log_scale"])
    upper = np.where(x > 1 - 0.5 / 15, 1.0, sigmoid((x + 0.5 / 15 - mu) / s))
    lower = np.where(x < 0.5 / 15, 0.0, sigmoid((x - 0.5 / 15 - mu) / s))
    m, log_v = values["mean"], values["log_variance"]
    divergence = 0.5 * (m**2 + np.exp(log_v) - 1 - log_v).sum(axis=1).mean()
    assert values["kl_weight"] == pytest.approx(0.7 * 5 / 10)  # the fifth step
    expected = -np.log(upper - lower).mean() + 0.35 * divergence / 64
    assert found == pytest.approx(expected, rel=1e-5)


def test_bits_per_dimension_are_the_bound_at_full_weight(pictures):
    objective = VariationalAutoencoder(tiny_backbone("cnn"), beta=1.0)
    objective.compile("sgd")
    scores = objective.evaluate(pictures, batch_size=32, verbose=0, return_dict=True)
    assert scores["bits_per_dimension"] == pytest.approx(scores["loss"] / math.log(2), rel=1e-5)


def test_a_model_that_knows_nothing_costs_about_the_bits_of_a_pixel():
    """A wide logistic is nearly flat over [0, 1] but for the mass outside: more than 8 bits, not by much."""
    x = np.random.default_rng(0).random((1000,))
    nats = -float(ops.mean(discretized_logistic(x, 0.5 * np.ones(1000), math.log(0.25), levels=256)))
    assert 7.9 < nats / math.log(2) < 9


@pytest.mark.parametrize("execution", [1, 4])
def test_the_divergence_warms_up_step_by_step(pictures, execution):
    objective = VariationalAutoencoder(tiny_backbone("cnn"), beta=2.0, warmup_steps=8)
    objective.compile("sgd", steps_per_execution=execution)
    weights = [float(objective(pictures)["kl_weight"])]
    objective.fit(pictures, batch_size=8, verbose=0)
    weights.append(float(objective(pictures)["kl_weight"]))
    objective.fit(pictures, batch_size=8, epochs=3, verbose=0)
    weights.append(float(objective(pictures)["kl_weight"]))
    assert weights == pytest.approx([0.0, 1.0, 2.0])


def test_codes_are_drawn_in_training_and_are_the_mean_without(pictures):
    objective = VariationalAutoencoder(tiny_backbone("cnn"), latent_width=3)
    still = [ops.convert_to_numpy(objective(pictures)["location"]) for _ in range(2)]
    np.testing.assert_array_equal(*still)
    drawn = [ops.convert_to_numpy(objective(pictures, training=True)["location"]) for _ in range(2)]
    assert np.abs(drawn[0] - drawn[1]).max() > 1e-3


def test_samples_are_examples_and_differ():
    objective = VariationalAutoencoder(tiny_backbone("mlp"), latent_width=3, decoder="dense")
    samples = ops.convert_to_numpy(objective.sample(4))
    assert samples.shape == (4, 8, 8, 1)
    assert samples.min() >= 0
    assert samples.max() <= 1
    assert np.abs(samples[0] - samples[1]).max() > 0


def test_likelihood_stays_in_float32_under_mixed_precision(pictures):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        outputs = VariationalAutoencoder(tiny_backbone("cnn"))(pictures)
    finally:
        keras.config.set_dtype_policy(policy)
    for name in ("mean", "location", "log_scale"):
        assert keras.backend.standardize_dtype(outputs[name].dtype) == "float32"


@pytest.mark.parametrize(
    "settings", [{"beta": -1.0}, {"warmup_steps": -1}, {"levels": 1}, {"latent_width": 0}]
)
def test_refuses_settings_that_cannot_work(settings):
    with pytest.raises(ValueError, match="VariationalAutoencoder takes"):
        VariationalAutoencoder(tiny_backbone("cnn"), **settings)
