"""Sentence contrast: the formula, the two readings, and what is refused."""

import keras
import numpy as np
import pytest

from tests.objectives.conftest import texts, tiny_backbone
from tftransfer.layers import paired_contrast
from tftransfer.objectives import SentenceContrast


@pytest.mark.compute
@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_equals_the_papers_formula(temperature):
    a, b = np.random.default_rng(0).normal(size=(2, 7, 5))
    x, y = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (a, b))
    scores = np.exp(x @ y.T / temperature)
    by_hand = -np.mean(np.log(np.diag(scores) / scores.sum(1)))
    assert float(paired_contrast(a, b, temperature=temperature)) == pytest.approx(by_hand, rel=1e-4)


def test_lengths_of_the_embeddings_make_no_difference():
    a, b = np.random.default_rng(0).normal(size=(2, 7, 5))
    scaled = paired_contrast(3 * a, 0.1 * b, temperature=0.1)
    assert float(scaled) == pytest.approx(float(paired_contrast(a, b, temperature=0.1)), rel=1e-5)


def test_readings_differ_by_dropout_alone():
    objective = SentenceContrast(tiny_backbone("dropout"))
    calm, drawn = objective(texts(), training=False), objective(texts(), training=True)
    np.testing.assert_allclose(calm["projections_1"], calm["projections_2"], atol=1e-6)
    assert np.abs(np.asarray(drawn["projections_1"]) - np.asarray(drawn["projections_2"])).max() > 1e-3


def test_bad_input():
    with pytest.raises(ValueError, match=r"dropout=0\.1"):
        SentenceContrast(tiny_backbone("bert"))
    with pytest.raises(ValueError, match="temperature"):
        SentenceContrast(tiny_backbone("dropout"), temperature=0)
    with pytest.raises(ValueError, match="pool"):
        SentenceContrast(tiny_backbone("dropout"), pooling="middle")
    with pytest.raises(ValueError, match="batch of one"):
        SentenceContrast(tiny_backbone("dropout"))(keras.ops.ones((1, 12), "int32"))
    with pytest.raises(ValueError, match="reads the ids of texts"):
        SentenceContrast(tiny_backbone("vit"))
