"""Surgical fine-tuning: the blocks with the largest relative gradients are the ones that move."""

import keras
import numpy as np
import pytest

from tftransfer.finetuning import finetune, variable_paths
from tftransfer.finetuning.gradients import gradient_norms
from tftransfer.policies import Context, linear_probe, surgical


def context(norms):
    paths = {f"backbone/{name}/kernel": keras.Variable(np.full(4, 0.5, "float32")) for name in "abc"}
    paths["head/kernel"] = keras.Variable(np.ones(2, "float32"))
    norms = dict(zip(paths, [*norms, 1.0], strict=True))
    return Context(None, paths, [[path] for path in paths], gradient_norms=lambda: norms)


def test_the_largest_relative_gradients_move():
    (stage,) = surgical(1)
    assert list(stage.resolve(context([1.0, 3.0, 2.0])).values()) == [0.0, 1.0, 0.0, 1.0]
    (stage,) = surgical()
    assert list(stage.resolve(context([1.0, 4.0, 2.0])).values()) == [0.25, 1.0, 0.5, 1.0]


def test_the_norms_are_those_of_the_gradient_and_nothing_moves(make_task, data, snapshot):
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the gradient for comparison is TensorFlow's")
    task = make_task()
    before = snapshot(task)
    loss = task.default_loss()
    batches = tf.data.Dataset.from_tensors(data).repeat()
    norms = gradient_norms(task, batches, 1, loss=loss)
    with tf.GradientTape() as tape:
        value = loss(data[1], task(data[0]))
    paths = variable_paths(task)
    for path, gradient in zip(
        norms, tape.gradient(value, [paths[path].value for path in norms]), strict=True
    ):
        assert norms[path] == pytest.approx(float(tf.norm(gradient)), rel=1e-4, abs=1e-7)
    for path, value in snapshot(task).items():
        np.testing.assert_array_equal(before[path], value)


def test_after_a_probe_it_measures_and_trains_that_many_blocks(make_task, data):
    history = finetune(make_task(), data, policy=linear_probe(1) + surgical(1, epochs=1), verbose=0)
    moving = {path.rsplit("/", 2)[0] for path in history.stages[1]["multipliers"]}
    blocks = {
        "/".join(path.split("/")[:3]) for path in history.stages[1]["multipliers"] if "head" not in path
    }
    assert moving and len({block for block in blocks if "norm" not in block.split("/")[2]}) <= 2


def test_blocks_out_of_range():
    with pytest.raises(ValueError, match="blocks must be"):
        surgical(0)
