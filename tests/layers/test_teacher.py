"""The moving-average teacher and the schedule inside the step."""

import keras
import numpy as np
import pytest
from keras import ops

from tftransfer.layers import StepCount, Teacher, cosine

pytestmark = pytest.mark.compute


def student():
    inputs = keras.Input((4,))
    x = keras.layers.BatchNormalization(name="norm")(keras.layers.Dense(3, name="dense")(inputs))
    return keras.Model(inputs, x)


def test_cosine_goes_from_start_to_end():
    assert float(cosine(0.996, 1.0, 0.0)) == pytest.approx(0.996)
    assert float(cosine(0.996, 1.0, 0.5)) == pytest.approx(0.998)
    assert float(cosine(0.996, 1.0, 1.0)) == pytest.approx(1.0)


def test_share_of_the_plan_stays_within_bounds():
    count = StepCount()
    count.advance()
    assert float(count.share()) == 0  # no plan
    count.plan(2)
    shares = [float(count.share())]
    for _ in range(3):
        count.advance()
        shares.append(float(count.share()))
    assert shares == [0.5, 1.0, 1.0, 1.0]


def test_follows_only_when_asked():
    model = student()
    teacher = Teacher(model, momentum=0.5)
    before = ops.convert_to_numpy(teacher.stages[0].get_layer("dense").kernel)
    model.get_layer("dense").kernel.assign(model.get_layer("dense").kernel + 1.0)
    x = np.ones((2, 4), "float32")
    teacher(x)
    np.testing.assert_array_equal(ops.convert_to_numpy(teacher.stages[0].get_layer("dense").kernel), before)
    teacher(x, follow=True)
    np.testing.assert_allclose(
        ops.convert_to_numpy(teacher.stages[0].get_layer("dense").kernel), before + 0.5, atol=1e-6
    )


def test_never_trains_and_normalises_its_own_batch():
    teacher = Teacher(student(), momentum=0.9)
    teacher.trainable = True
    assert teacher.trainable_variables == []
    x = np.random.default_rng(0).normal(5, 3, (64, 4)).astype("float32")
    targets = ops.convert_to_numpy(teacher(x, training=True))
    np.testing.assert_allclose(targets.mean(0), 0, atol=1e-4)
    assert np.abs(ops.convert_to_numpy(teacher(x, training=False)).mean(0)).max() > 1e-2


def test_refuses_a_momentum_outside_0_and_1():
    with pytest.raises(ValueError, match="momentum"):
        Teacher(student(), momentum=1.5)
