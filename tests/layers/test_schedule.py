"""Schedules inside the step: they count alike however steps are executed, and go on where a run was saved."""

import keras
import numpy as np
import pytest
from keras import ops

from tftransfer.layers import StepCount, cosine


class Counting(keras.Model):
    def __init__(self):
        super().__init__()
        self.count, self.dense = StepCount(), keras.layers.Dense(1)
        self.dense.build((None, 2))
        self.built = True

    def call(self, inputs, training=None):
        if training:
            self.count.advance()
        return self.dense(inputs)


@pytest.mark.compute
def test_cosine_falls_and_rises_and_is_even_about_the_middle():
    shares = np.linspace(0, 1, 11)
    rising, falling = ([float(cosine(*ends, share)) for share in shares] for ends in ((0.2, 0.8), (0.8, 0.2)))
    by_hand = 0.8 - 0.6 * (1 + np.cos(np.pi * shares)) / 2
    np.testing.assert_allclose(rising, by_hand, atol=1e-6)
    np.testing.assert_allclose(np.add(rising, falling), 1.0, atol=1e-6)
    assert np.all(np.diff(rising) > 0)


@pytest.mark.parametrize("execution", [1, 4])
def test_steps_are_counted_in_training_alone_and_however_they_are_executed(execution):
    model = Counting()
    model.count.plan(16)
    model.compile("sgd", "mse", steps_per_execution=execution)
    x, y = np.ones((32, 2), "float32"), np.ones((32, 1), "float32")
    model.fit(x, y, batch_size=4, verbose=0)
    model.evaluate(x, y, batch_size=4, verbose=0)
    assert int(model.count.steps) == 8 and float(model.count.share()) == 0.5


def test_the_count_is_saved_and_another_plan_changes_the_share(tmp_path):
    model, other = Counting(), Counting()
    model.count.plan(10)
    for _ in range(5):
        model.count.advance()
    model.save_weights(tmp_path / "a.weights.h5")
    other.load_weights(tmp_path / "a.weights.h5")
    assert float(other.count.share()) == 0.5
    other.count.plan(20)
    assert float(other.count.share()) == 0.25
    assert not other.count.trainable_variables
    assert "int32" in str(ops.convert_to_numpy(other.count.steps).dtype)
