"""VIME's two errors against NumPy, and the mask that counts only real changes."""

import numpy as np
import pytest
from keras import ops

from tests.objectives.conftest import tiny_backbone
from tftransfer.objectives import VIME
from tftransfer.objectives.vime import mask_and_feature_error

pytestmark = pytest.mark.compute


def test_equals_the_papers_formula():
    draw = np.random.default_rng(0)
    logits, x, y = draw.normal(size=(3, 6, 4))
    mask = draw.integers(0, 2, (6, 4))
    p = 1 / (1 + np.exp(-logits))
    cross_entropy = -np.mean(mask * np.log(p) + (1 - mask) * np.log(1 - p))
    found = float(mask_and_feature_error(logits, mask, (x - y) ** 2, feature_weight=2.0))
    assert found == pytest.approx(cross_entropy + 2 * np.mean((x - y) ** 2), rel=1e-5)


def test_extreme_logits_stay_finite():
    big = np.full((2, 2), 1e4, "float32")
    ones, zeros = np.ones((2, 2)), np.zeros((2, 2))
    assert float(mask_and_feature_error(big, ones, zeros, feature_weight=1.0)) == 0
    assert np.isfinite(float(mask_and_feature_error(-big, ones, zeros, feature_weight=1.0)))


def test_a_constant_column_is_never_marked():
    x = np.random.default_rng(0).normal(size=(32, 64)).astype("float32")
    x[:, 0] = 7.0
    outputs = VIME(tiny_backbone("table"), corruption=0.5)(x)
    mask = ops.convert_to_numpy(outputs["mask"])
    assert mask[:, 0].sum() == 0
    assert mask[:, 1:].mean() == pytest.approx(0.5, abs=0.05)
    np.testing.assert_array_equal(ops.convert_to_numpy(outputs["target"]), x)


def test_plain_rows_come_back_by_their_squared_error():
    x = np.random.default_rng(0).normal(size=(8, 64)).astype("float32")
    objective = VIME(tiny_backbone("table"))
    outputs = {name: ops.convert_to_numpy(value) for name, value in objective(x).items()}
    cross_entropy = np.logaddexp(0, outputs["mask_logits"]) - outputs["mask"] * outputs["mask_logits"]
    expected = cross_entropy.mean() + 2 * ((outputs["reconstruction"] - x) ** 2).mean()
    assert float(objective.compute_objective(outputs)) == pytest.approx(expected, rel=1e-5)


def test_refuses_what_cannot_work():
    with pytest.raises(ValueError, match="rows of a table"):
        VIME(tiny_backbone("cnn"))
    with pytest.raises(ValueError, match="corruption lies in"):
        VIME(tiny_backbone("table"), corruption=1.0)
    with pytest.raises(ValueError, match="batch of one"):
        VIME(tiny_backbone("table"))(np.ones((1, 64), "float32"))
