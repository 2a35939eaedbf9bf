"""SimSiam's loss against the formula, and where its gradient stops."""

import keras
import numpy as np
import pytest

from tests.objectives.conftest import tiny_backbone
from tftransfer.objectives import SimSiam
from tftransfer.objectives.simsiam import negative_cosine

pytestmark = pytest.mark.compute


def test_equals_the_papers_formula():
    p, z = np.random.default_rng(0).normal(size=(2, 6, 5))
    expected = -np.mean([a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(p, z, strict=True)])
    assert float(negative_cosine(p, z)) == pytest.approx(expected, rel=1e-5)
    assert float(negative_cosine(3 * p, z / 7)) == pytest.approx(expected, rel=1e-5)


def test_loss_is_the_mean_of_both_directions():
    objective = SimSiam(tiny_backbone("cnn"))
    draw = np.random.default_rng(0).normal(size=(4, 6, 5)).astype("float32")
    names = ("predictions_1", "predictions_2", "projections_1", "projections_2")
    p1, p2, z1, z2 = draw
    loss = float(objective.compute_objective(dict(zip(names, draw, strict=True))))
    assert loss == pytest.approx((float(negative_cosine(p1, z2)) + float(negative_cosine(p2, z1))) / 2)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="reads gradients with a tape")
def test_no_gradient_reaches_the_targets():
    import tensorflow as tf

    p, z = (tf.Variable(a) for a in np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32"))
    with tf.GradientTape() as tape:
        loss = negative_cosine(p, z)
    to_p, to_z = tape.gradient(loss, [p, z])
    assert np.abs(to_p).max() > 0
    assert to_z is None


def test_sizes_follow_the_paper():
    objective = SimSiam(tiny_backbone("cnn"), projection_width=512)
    assert objective.projector.output_shape == (None, 512)
    assert objective.predictor.layers[0].units == 128
    assert SimSiam(tiny_backbone("cnn")).projector.output_shape == (None, 8)  # the embedding's width


def test_refuses_a_batch_of_one():
    with pytest.raises(ValueError, match="batch of one"):
        SimSiam(tiny_backbone("cnn"))(np.ones((1, 8, 8, 1), "float32"))
