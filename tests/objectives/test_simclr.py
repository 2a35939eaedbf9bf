"""SimCLR's loss against the paper's formula, closed forms and invariances."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.objectives.conftest import tiny_backbone
from tftransfer.objectives import SimCLR
from tftransfer.objectives.simclr import nt_xent

pytestmark = pytest.mark.compute


def formula(z1, z2, temperature):
    """Equation 1 of Chen et al. (2020), anchor by anchor, in float64."""
    z = np.concatenate([z1, z2]).astype("float64")
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    n, total = len(z1), 0.0
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        similarities = np.exp(z @ z[i] / temperature)
        total += -np.log(similarities[j] / (similarities.sum() - similarities[i]))
    return total / (2 * n)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_equals_the_papers_formula(temperature):
    z1, z2 = np.random.default_rng(0).normal(size=(2, 6, 5))
    assert float(nt_xent(z1, z2, temperature=temperature)) == pytest.approx(
        formula(z1, z2, temperature), rel=1e-5
    )


def test_equal_embeddings_give_the_logarithm_of_the_candidates():
    z = np.ones((8, 3), "float32")
    assert float(nt_xent(z, z, temperature=0.3)) == pytest.approx(np.log(2 * 8 - 1), rel=1e-5)


def test_ignores_length_order_and_which_view_comes_first():
    z1, z2 = np.random.default_rng(1).normal(size=(2, 6, 5)).astype("float32")
    loss, order = float(nt_xent(z1, z2, temperature=0.2)), np.random.default_rng(2).permutation(6)
    for other in ((3 * z1, z2 / 7), (z1[order], z2[order]), (z2, z1)):
        assert float(nt_xent(*other, temperature=0.2)) == pytest.approx(loss, rel=1e-5)


def test_low_precision_projections_are_compared_in_float32():
    z = ops.cast(np.random.default_rng(0).normal(size=(4, 3)), "bfloat16")
    assert keras.backend.standardize_dtype(nt_xent(z, z, temperature=0.1).dtype) == "float32"


def test_reads_views_made_beforehand():
    objective = SimCLR(tiny_backbone("cnn"))
    x = np.random.default_rng(0).random((4, 8, 8, 1)).astype("float32")
    outputs = objective({"view_1": x, "view_2": x}, training=False)
    np.testing.assert_allclose(
        ops.convert_to_numpy(outputs["projections_1"]),
        ops.convert_to_numpy(outputs["projections_2"]),
        atol=1e-5,
    )


def test_takes_an_augmentation_of_keras():
    objective = SimCLR(tiny_backbone("cnn"), augmentation=keras.layers.RandomFlip(seed=0))
    objective.compile("adam")
    history = objective.fit(
        np.random.default_rng(0).random((8, 8, 8, 1)).astype("float32"), batch_size=4, verbose=0
    )
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.parametrize("temperature", [0, -1.0])
def test_refuses_a_temperature_that_is_not_positive(temperature):
    with pytest.raises(ValueError, match="temperature must be positive"):
        SimCLR(tiny_backbone("cnn"), temperature=temperature)


def test_refuses_a_batch_of_one():
    with pytest.raises(ValueError, match="batch of one"):
        SimCLR(tiny_backbone("cnn"))(np.ones((1, 8, 8, 1), "float32"))
