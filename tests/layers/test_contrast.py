"""The shared contrastive loss, against float64."""

import numpy as np
import pytest

from tftransfer.layers import contrast

pytestmark = pytest.mark.compute


def unit(rows, seed):
    z = np.random.default_rng(seed).normal(size=(rows, 4))
    return (z / np.linalg.norm(z, axis=1, keepdims=True)).astype("float32")


@pytest.mark.parametrize("own", [None, np.array([3, 4, 0])])
def test_equals_the_formula(own):
    a, c, positives = unit(3, 0), unit(5, 1), np.array([1, 0, 2])
    by_hand = []
    for i in range(3):
        scores = np.exp(c.astype("float64") @ a[i] / 0.3)
        held = [k for k in range(5) if own is None or k != own[i]]
        by_hand.append(-np.log(scores[positives[i]] / scores[held].sum()))
    assert float(contrast(a, c, positives, temperature=0.3, own=own)) == pytest.approx(
        np.mean(by_hand), rel=1e-5
    )
