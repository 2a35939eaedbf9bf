"""Which one limits: a slow generator and a slow model tell."""

import time

import keras
import numpy as np
import pytest
from keras import layers

from tftransfer import backbones, data, objectives, placement

pytestmark = pytest.mark.compute


class Batches(keras.utils.PyDataset):
    """Noise that takes its time."""

    def __init__(self, seconds, count=6):
        super().__init__()
        self.seconds, self.count = seconds, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        time.sleep(self.seconds)
        return np.full((8, 6), index, "float32")


def model(units=4, depth=1, **place):
    objective = objectives.Autoencoder(backbones.mlp((6,), units=(units,) * depth), noise=0.1)
    objective.compile(keras.optimizers.Adam(0.01))
    return objective


def values(objective):
    return [keras.ops.convert_to_numpy(v) for v in [*objective.variables, *objective.optimizer.variables]]


def test_a_slow_generator_limits(capsys):
    report = placement.input_bottleneck(model(), Batches(0.15), steps=4)
    assert report.limits == "data" and report.waiting > 0.3 and report.data_s >= 0.15
    assert report.together_s < 10 * report.data_s  # tracing and compiling are not counted
    assert capsys.readouterr().out.startswith("The data limits: a batch takes 15")


def test_a_slow_model_limits(capsys):
    batches = data.batches(np.zeros((64, 6), "float32"), batch_size=32, repeat=True)
    report = placement.input_bottleneck(model(1500, 3), batches, steps=3, verbose=False)
    assert report.limits == "model" and "Faster reading would gain little" in str(report)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("seconds", "limits", "waiting"),
    [
        ((0.1, 0.2, 0.2), "model", 0.0),
        ((0.3, 0.1, 0.4), "data", 0.75),
        ((0.1, 0.2, 0.3), "model", 1 / 3),  # one after the other
        ((0.01, 0.1, 0.5), "model", 0.02),  # a busy machine: reading takes no longer than it takes
    ],
)
def test_what_the_times_say(seconds, limits, waiting):
    report = placement.InputReport(*seconds)
    assert report.limits == limits and report.waiting == pytest.approx(waiting)
    advice = "several threads" if limits == "data" else "prefetch" if waiting > 0.1 else "gain little"
    assert advice in str(report)


def test_nothing_is_left_of_it():
    objective, batches = model(), Batches(0.0)
    objective.optimizer.build(objective.trainable_variables)
    before = values(objective)
    placement.input_bottleneck(objective, batches, steps=3, verbose=False)
    for one, other in zip(before, values(objective), strict=True):
        np.testing.assert_array_equal(one, other)


def test_under_two_replicas(mirrored):
    with mirrored.scope():
        objective = model()
    before = objective.get_weights()
    batches = data.batches(np.zeros((64, 6), "float32"), batch_size=16, repeat=True)
    placement.input_bottleneck(objective, batches, steps=2, verbose=False)
    for one, other in zip(before, objective.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_two_batches_suffice():
    assert placement.input_bottleneck(model(), Batches(0.0, 2), steps=5, verbose=False).data_s >= 0


def test_mistakes():
    with pytest.raises(ValueError, match="compile"):
        placement.input_bottleneck(objectives.Autoencoder(backbones.mlp((6,))), Batches(0.0))
    with pytest.raises(ValueError, match=r"data\.batches"):
        placement.input_bottleneck(model(), np.zeros((8, 6)))
    with pytest.raises(ValueError, match="Fewer than two batches"):
        placement.input_bottleneck(model(), Batches(0.0, 1))
    plain = keras.Sequential([keras.Input((6,)), layers.Dense(6)])
    plain.compile("sgd", "mse")
    with pytest.raises(ValueError, match="Fewer than two"):
        placement.input_bottleneck(plain, Batches(0.0, 1))
