"""MoCo v3's loss against the formula and closed forms."""

import numpy as np
import pytest

from tests.objectives.conftest import tiny_backbone
from tftransfer.objectives import MoCo
from tftransfer.objectives.moco import contrast

pytestmark = pytest.mark.compute


def formula(q, k, temperature):
    """Algorithm 1 of Chen, Xie & He (2021), query by query, in float64."""
    q, k = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (q, k))
    total = 0.0
    for i in range(len(q)):
        similarities = np.exp(k @ q[i] / temperature)
        total -= np.log(similarities[i] / similarities.sum())
    return 2 * temperature * total / len(q)


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_equals_the_papers_formula(temperature):
    q, k = np.random.default_rng(0).normal(size=(2, 7, 5))
    assert float(contrast(q, k, temperature=temperature)) == pytest.approx(
        formula(q, k, temperature), rel=1e-5
    )


def test_equal_embeddings_give_the_logarithm_of_the_keys():
    z = np.ones((8, 3), "float32")
    assert float(contrast(z, z, temperature=0.5)) == pytest.approx(np.log(8), rel=1e-5)


def test_ignores_length_and_order():
    q, k = np.random.default_rng(1).normal(size=(2, 6, 5)).astype("float32")
    loss, order = float(contrast(q, k, temperature=0.2)), np.random.default_rng(2).permutation(6)
    for other in ((3 * q, k / 7), (q[order], k[order])):
        assert float(contrast(*other, temperature=0.2)) == pytest.approx(loss, rel=1e-5)


def test_keys_come_from_the_teacher():
    objective = MoCo(tiny_backbone("cnn"), momentum=1.0)
    x = np.random.default_rng(0).random((4, 8, 8, 1)).astype("float32")
    before = np.asarray(objective({"view_1": x, "view_2": x})["keys_1"])
    for variable in objective.backbone.trainable_variables:
        variable.assign(variable + 1.0)
    after = objective({"view_1": x, "view_2": x})
    np.testing.assert_allclose(np.asarray(after["keys_1"]), before, atol=1e-6)


def test_refuses_what_cannot_work():
    with pytest.raises(ValueError, match="temperature must be positive"):
        MoCo(tiny_backbone("cnn"), temperature=0)
    with pytest.raises(ValueError, match="momentum"):
        MoCo(tiny_backbone("cnn"), momentum=2)
    with pytest.raises(ValueError, match="batch of one"):
        MoCo(tiny_backbone("cnn"))(np.ones((1, 8, 8, 1), "float32"))
