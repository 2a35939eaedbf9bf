"""VICReg's loss against the formula, closed forms and invariances."""

import numpy as np
import pytest

from tests.objectives.conftest import tiny_backbone
from tftransfer.objectives import VICReg
from tftransfer.objectives.vicreg import vicreg_loss

pytestmark = pytest.mark.compute
PAPER = {"invariance_weight": 25.0, "variance_weight": 25.0, "covariance_weight": 1.0}


def only(term):
    return {f"{name}_weight": float(name == term) for name in ("invariance", "variance", "covariance")}


def formula(a, b, invariance_weight, variance_weight, covariance_weight):
    """Equations 1 to 6 of Bardes et al. (2021), averaged as in its code, in float64."""
    n, d = a.shape
    variance = covariance = 0.0
    for z in (a, b):
        for j in range(d):
            variance += max(0.0, 1 - np.sqrt(np.var(z[:, j], ddof=1) + 1e-4)) / d / 2
        c = sum(np.outer(row - z.mean(0), row - z.mean(0)) for row in z) / (n - 1)
        covariance += sum(c[i, j] ** 2 for i in range(d) for j in range(d) if i != j) / d
    invariance = np.mean((a - b) ** 2)
    return invariance_weight * invariance + variance_weight * variance + covariance_weight * covariance


@pytest.mark.parametrize("weights", [PAPER, only("invariance"), only("variance"), only("covariance")])
def test_equals_the_formula(weights):
    a, b = np.random.default_rng(0).normal(scale=0.7, size=(2, 10, 5))
    assert float(vicreg_loss(a, b, **weights)) == pytest.approx(formula(a, b, **weights), rel=1e-4)


def test_collapse_costs_variance_and_nothing_else():
    z = np.full((8, 3), 2.0, "float32")
    assert float(vicreg_loss(z, z, **PAPER)) == pytest.approx(25 * (1 - 0.01), rel=1e-4)


def test_spread_uncorrelated_equal_views_cost_nothing():
    z = 2 * np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], "float32")
    assert float(vicreg_loss(z, z, **PAPER)) == pytest.approx(0, abs=1e-6)


def test_ignores_shift_order_and_which_view_comes_first():
    a, b = np.random.default_rng(1).normal(size=(2, 16, 4)).astype("float32")
    order = np.random.default_rng(2).permutation(16)
    loss = float(vicreg_loss(a, b, **PAPER))
    for other in ((a + 5, b + 5), (a[order], b[order]), (b, a)):
        assert float(vicreg_loss(*other, **PAPER)) == pytest.approx(loss, rel=1e-4)


def test_a_last_batch_of_one_stays_finite():
    z = np.ones((1, 4), "float32")
    assert np.isfinite(float(vicreg_loss(z, z, **PAPER)))


@pytest.mark.parametrize("weights", [{"variance_weight": 0.0}, {"covariance_weight": -1.0}])
def test_refuses_weights_that_collapse(weights):
    with pytest.raises(ValueError, match="weights of VICReg"):
        VICReg(tiny_backbone("cnn"), **weights)


def test_refuses_a_batch_of_one():
    with pytest.raises(ValueError, match="batch of one"):
        VICReg(tiny_backbone("cnn"))(np.ones((1, 8, 8, 1), "float32"))
