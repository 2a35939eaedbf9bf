"""Replaced tokens: both losses by hand, what the generator may draw, and where gradients go."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.objectives.conftest import texts, tiny_backbone
from tftransfer import backbones
from tftransfer.objectives import ReplacedToken
from tftransfer.objectives.replaced_token import binary_nats, sampled


@pytest.fixture
def objective():
    keras.utils.set_random_seed(0)
    return ReplacedToken(tiny_backbone("bert"), mask_ratio=0.4)


@pytest.mark.compute
def test_binary_cross_entropy_in_float64():
    z = np.array([[-30.0, -1.0, 0.3, 40.0]])
    y = np.array([[1, 0, 1, 1]])
    by_hand = np.logaddexp(0, z) - y * z
    np.testing.assert_allclose(binary_nats(z, y), by_hand, rtol=1e-5, atol=1e-6)


@pytest.mark.compute
def test_draws_follow_the_distribution():
    p = np.array([0.1, 0.0, 0.6, 0.3])
    draws = ((np.arange(1000) + 0.5) / 1000).astype("float32")
    logits = np.tile(np.log(np.maximum(p, 1e-30)), (1000, 1)).astype("float32")
    found = np.bincount(np.asarray(sampled(logits, draws)), minlength=4)
    np.testing.assert_allclose(found / 1000, p, atol=2e-3)


def test_loss_is_the_generators_and_fifty_times_the_backbones(objective):
    out = objective(texts())
    a = {name: np.asarray(value, "float64") for name, value in out.items()}
    hidden, known = a["targets"] >= 0, a["replaced"] >= 0
    z, y = a["detected"][known], a["replaced"][known]
    by_hand = a["nats"][hidden].mean() + 50 * np.mean(np.logaddexp(0, z) - y * z)
    assert float(objective.compute_objective(out)) == pytest.approx(by_hand, rel=1e-5)
    np.testing.assert_array_equal(known, texts() != 0)


def test_only_hidden_places_are_replaced_and_never_by_special_tokens(objective):
    ids = texts()
    places, mask = np.tile([1, 3, 2], (32, 1)), np.tile([1.0, 1.0, 0.0], (32, 1))
    logits = np.zeros((32, 3, 29), "float32")
    logits[..., :5] = 50.0  # the special tokens
    new = np.asarray(objective._filled(*map(ops.convert_to_tensor, (ids, places, mask, logits))))
    changed = np.argwhere(new != ids)
    assert set(changed[:, 1]) == {1, 3} and (new[:, [1, 3]] >= 5).all()


def test_figures(objective):
    objective.compile("sgd")
    history = objective.fit(texts(), batch_size=32, verbose=0).history
    assert set(history) == {"loss", "accuracy", "bits_per_byte", "detection"}
    assert 0 < history["detection"][0] < 1


def test_bad_input():
    with pytest.raises(ValueError, match="mask_ratio"):
        ReplacedToken(tiny_backbone("bert"), mask_ratio=0)
    with pytest.raises(ValueError, match="CausalLM"):
        ReplacedToken(tiny_backbone("gpt"))
    with pytest.raises(ValueError, match="mask_id="):
        ReplacedToken(backbones.bert((8,), vocabulary_size=9, width=8, depth=1, num_heads=1))
