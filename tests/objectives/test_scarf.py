"""SCARF's loss against the formula, and its corruption against the columns' own values."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.objectives.conftest import tiny_backbone
from tftransfer.layers import swap_values
from tftransfer.objectives import SCARF
from tftransfer.objectives.scarf import info_nce

pytestmark = pytest.mark.compute


def formula(a, b, temperature):
    """Algorithm 1 of Bahri et al. (2021), row by row, in float64."""
    a, b = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (a, b))
    total = 0.0
    for i in range(len(a)):
        similarities = np.exp(b @ a[i] / temperature)
        total -= np.log(similarities[i] / similarities.mean())
    return total / len(a)


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_equals_the_papers_formula(temperature):
    a, b = np.random.default_rng(0).normal(size=(2, 7, 5))
    assert float(info_nce(a, b, temperature=temperature)) == pytest.approx(
        formula(a, b, temperature), rel=1e-4
    )


def test_rows_that_all_look_alike_cost_nothing_and_length_does_not_count():
    z = np.ones((8, 3), "float32")
    assert float(info_nce(z, z, temperature=0.5)) == pytest.approx(0, abs=1e-5)
    a, b = np.random.default_rng(1).normal(size=(2, 6, 5)).astype("float32")
    assert float(info_nce(3 * a, b / 7, temperature=1.0)) == pytest.approx(
        float(info_nce(a, b, temperature=1.0))
    )


def test_corruption_takes_values_of_the_same_column_at_the_share_it_says():
    rows = np.arange(200, dtype="float32")[:, None] * 10 + np.arange(5, dtype="float32")
    corrupted, mask = swap_values(
        ops.convert_to_tensor(rows), 0.6, keras.random.SeedGenerator(0), where="SCARF"
    )
    corrupted, mask = ops.convert_to_numpy(corrupted), ops.convert_to_numpy(mask)
    np.testing.assert_array_equal(corrupted % 10, rows % 10)
    np.testing.assert_array_equal(corrupted[mask == 0], rows[mask == 0])
    assert mask.mean() == pytest.approx(0.6, abs=0.05)
    donors = corrupted // 10
    assert len(np.unique(donors[mask == 1])) > 100  # any row may give
    both = (mask[:, 0] == 1) & (mask[:, 1] == 1)
    assert (donors[both, 0] != donors[both, 1]).mean() > 0.9  # each value on its own


@pytest.mark.parametrize("settings", [{"corruption": 0.0}, {"corruption": 1.0}, {"temperature": 0.0}])
def test_refuses_settings_that_cannot_work(settings):
    with pytest.raises(ValueError, match="corruption lies in"):
        SCARF(tiny_backbone("table"), **settings)


def test_refuses_pictures_and_a_batch_of_one():
    with pytest.raises(ValueError, match="rows of a table"):
        SCARF(tiny_backbone("cnn"))
    with pytest.raises(ValueError, match="batch of one"):
        SCARF(tiny_backbone("table"))(np.ones((1, 64), "float32"))
