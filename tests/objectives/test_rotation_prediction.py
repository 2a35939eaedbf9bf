"""Rotation prediction: the turns, the loss, and what it refuses."""

import numpy as np
import pytest
from keras import ops

from tests.objectives.conftest import tiny_backbone
from tftransfer import backbones
from tftransfer.objectives import RotationPrediction
from tftransfer.objectives.rotation_prediction import all_rotations, rotation_error

pytestmark = pytest.mark.compute


def test_error_equals_the_formula():
    draw = np.random.default_rng(0)
    logits, turns = draw.normal(size=(6, 4)), draw.integers(0, 4, 6)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert float(rotation_error(logits, turns)) == pytest.approx(
        -np.log(p[np.arange(6), turns]).mean(), rel=1e-5
    )


def test_turns_every_picture_four_ways():
    x = np.random.default_rng(0).random((3, 4, 4, 2)).astype("float32")
    turned, turns = (ops.convert_to_numpy(v) for v in all_rotations(x))
    for row, k in zip(turned.reshape(4, 3, 4, 4, 2), range(4), strict=True):
        np.testing.assert_array_equal(row, np.rot90(x, k, axes=(1, 2)))
    np.testing.assert_array_equal(turns, np.repeat(np.arange(4), 3))


def test_reads_rotations_made_beforehand_and_a_batch_of_one():
    objective = RotationPrediction(tiny_backbone("cnn"))
    outputs = objective({"rotated": np.ones((3, 8, 8, 1), "float32"), "turns": np.array([0, 1, 2])})
    assert tuple(outputs["logits"].shape) == (3, 4)
    assert tuple(objective(np.ones((1, 8, 8, 1), "float32"))["logits"].shape) == (4, 4)


def test_reports_its_accuracy(pictures):
    objective = RotationPrediction(tiny_backbone("cnn"))
    objective.compile("sgd")
    scores = objective.evaluate(pictures, verbose=0, return_dict=True)
    outputs = objective(pictures, training=False)
    right = ops.convert_to_numpy(outputs["logits"]).argmax(1) == ops.convert_to_numpy(outputs["turns"])
    assert scores["rotation_accuracy"] == pytest.approx(right.mean(), abs=1e-6)


def test_refuses_pictures_that_are_not_square():
    with pytest.raises(ValueError, match="square pictures"):
        RotationPrediction(backbones.cnn((8, 12, 1), filters=(4,)))
    with pytest.raises(ValueError, match="square pictures"):
        RotationPrediction(tiny_backbone("table"))
