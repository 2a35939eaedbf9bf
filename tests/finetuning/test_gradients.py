"""How hard data pull at each variable: the gradients of the loss, in NumPy, and nothing moved by looking."""

import keras
import numpy as np
import pytest

from tftransfer import data as data_module
from tftransfer.finetuning.freezing import variable_paths
from tftransfer.finetuning.gradients import gradient_norms
from tftransfer.tasks import Classifier

pytestmark = pytest.mark.compute


def linear():
    keras.utils.set_random_seed(0)
    body = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, name="body")])
    return Classifier(body, 3)


def by_hand(task, x, y):
    w, b = (np.array(v, "float64") for v in task.backbone.get_layer("body").get_weights())
    v, c = (np.array(v, "float64") for v in task.head.get_weights())
    hidden = x @ w + b
    logits = hidden @ v + c
    p = np.exp(logits - logits.max(1, keepdims=True))
    error = (p / p.sum(1, keepdims=True) - np.eye(3)[y]) / len(x)
    back = error @ v.T
    return {
        "backbone/body/kernel": x.T @ back,
        "backbone/body/bias": back.sum(0),
        "head/kernel": hidden.T @ error,
        "head/bias": error.sum(0),
    }


@pytest.mark.parametrize("batch_size", [12, 6])
def test_they_are_the_norms_of_the_gradients(batch_size):
    x, y = np.random.default_rng(0).normal(size=(12, 4)).astype("float32"), np.arange(12) % 3
    task = linear()
    batches = data_module.batches((x, y), batch_size=batch_size, repeat=True)
    steps = 12 // batch_size
    found = gradient_norms(task, batches, steps, loss=task.default_loss())
    parts = [by_hand(task, x[i : i + batch_size], y[i : i + batch_size]) for i in range(0, 12, batch_size)]
    assert set(found) == set(parts[0])
    for path, value in found.items():
        expected = np.sqrt(np.mean([(part[path] ** 2).sum() for part in parts]))
        assert value == pytest.approx(expected, rel=1e-4), path


def test_nothing_moves_and_frozen_flags_do_not_count(make_task, data):
    task = make_task()
    task.backbone.get_layer("conv_00").trainable = False
    before = {path: np.array(keras.ops.convert_to_numpy(v)) for path, v in variable_paths(task).items()}
    batches = data_module.batches(data, batch_size=8, repeat=True)
    found = gradient_norms(task, batches, 2, loss=task.default_loss())
    assert "backbone/conv_00/kernel" in found and all(value > 0 for value in found.values())
    assert not any("moving" in path for path in found)
    for path, variable in variable_paths(task).items():
        np.testing.assert_array_equal(before[path], keras.ops.convert_to_numpy(variable), err_msg=path)


def test_at_most_32_batches_are_looked_at(make_task, data):
    steps = []

    class Counted(type(make_task())):
        def fit(self, *args, **options):
            steps.append(options["steps_per_epoch"])
            return super().fit(*args, **options)

    batches = data_module.batches(data, batch_size=1, repeat=True)
    task = make_task(Counted)
    gradient_norms(task, batches, 1000, loss=task.default_loss())
    assert steps == [32]
