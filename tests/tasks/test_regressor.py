import keras
import numpy as np
import pytest

from tftransfer import backbones
from tftransfer.tasks import Regressor

X = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
Y = X[:, :2] @ np.array([[1.0, 0.5], [-1.0, 0.5]])


def make(outputs):
    keras.utils.set_random_seed(0)
    return Regressor(backbones.mlp((8,), units=(16,)), outputs)


@pytest.mark.compute
@pytest.mark.parametrize("y, outputs", [(Y[:, 0], 1), (Y, 2)], ids=["numbers", "two columns"])
def test_learns_and_measures(y, outputs):
    task = make(outputs)
    task.compile(keras.optimizers.Adam(0.02), task.default_loss(), metrics=task.default_metrics())
    history = task.fit(X, y, batch_size=16, epochs=15, verbose=0).history
    assert history["loss"][-1] < 0.3 * history["loss"][0]
    error = np.asarray(task(X), "float64") - y.reshape(64, outputs)
    result = task.evaluate(X, y, verbose=0, return_dict=True)
    assert result == pytest.approx(
        {"loss": np.mean(error**2), "mean_absolute_error": np.mean(np.abs(error))}, rel=1e-4
    )


def test_one_output_by_default():
    assert Regressor(backbones.mlp((8,), units=(4,))).num_outputs == 1


def test_swap_head_keeps_the_number_or_takes_a_new_one():
    task = make(2)
    assert task.swap_head().num_outputs == 2
    assert task.swap_head(3).num_outputs == 3 and task(X).shape == (64, 3)
    assert task.get_config()["num_outputs"] == 3
