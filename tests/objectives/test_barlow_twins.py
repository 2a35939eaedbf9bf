"""Barlow Twins' loss against the paper's formula, closed forms and invariances."""

import numpy as np
import pytest

from tests.objectives.conftest import tiny_backbone
from tftransfer.objectives import BarlowTwins
from tftransfer.objectives.barlow_twins import cross_correlation_loss

pytestmark = pytest.mark.compute


def formula(a, b, weight):
    """Equations 1 and 2 of Zbontar et al. (2021), entry by entry, in float64."""
    total = 0.0
    for i in range(a.shape[1]):
        for j in range(b.shape[1]):
            c = np.corrcoef(a[:, i], b[:, j])[0, 1]
            total += (1 - c) ** 2 if i == j else weight * c**2
    return total


@pytest.mark.parametrize("weight", [0.0051, 1.0])
def test_equals_the_papers_formula(weight):
    a, b = np.random.default_rng(0).normal(size=(2, 12, 5))
    loss = float(cross_correlation_loss(a, b, redundancy_weight=weight))
    assert loss == pytest.approx(formula(a, b, weight), rel=1e-4)


def test_views_that_agree_in_uncorrelated_dimensions_cost_nothing():
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(16, 16)))
    z = q - q.mean(0)
    z, _ = np.linalg.qr(z[:, :5])  # orthogonal columns of mean 0
    assert float(cross_correlation_loss(z * 100, z * 100, redundancy_weight=1.0)) == pytest.approx(
        0, abs=1e-4
    )


def test_collapsed_projections_cost_one_a_dimension():
    z = np.ones((8, 6), "float32")
    assert float(cross_correlation_loss(z, z, redundancy_weight=1.0)) == pytest.approx(6, rel=1e-5)


def test_ignores_scale_shift_order_and_which_view_comes_first():
    a, b = np.random.default_rng(1).normal(size=(2, 16, 4)).astype("float32")
    order = np.random.default_rng(2).permutation(16)
    loss = float(cross_correlation_loss(a, b, redundancy_weight=0.1))
    for other in ((3 * a + 2, b / 2 - 1), (a[order], b[order]), (b, a)):
        assert float(cross_correlation_loss(*other, redundancy_weight=0.1)) == pytest.approx(loss, rel=1e-3)


def test_projections_have_the_papers_ratio():
    outputs = BarlowTwins(tiny_backbone("cnn"))(np.ones((4, 8, 8, 1), "float32"))
    assert tuple(outputs["projections_1"].shape) == (4, 4 * 8)


def test_refuses_what_cannot_work():
    with pytest.raises(ValueError, match="redundancy_weight must be positive"):
        BarlowTwins(tiny_backbone("cnn"), redundancy_weight=0)
    with pytest.raises(ValueError, match="batch of one"):
        BarlowTwins(tiny_backbone("cnn"))(np.ones((1, 8, 8, 1), "float32"))
