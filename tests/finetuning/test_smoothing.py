"""Label smoothing against the formula in NumPy float64, against Keras on one-hot rows, and in a task's losses."""

import keras
import numpy as np
import pytest

from tests.finetuning.conftest import small_backbone
from tftransfer.finetuning.smoothing import SparseSmoothedCrossentropy, smoothed
from tftransfer.tasks import Classifier, Regressor

pytestmark = pytest.mark.compute


@pytest.mark.parametrize("amount", [0.0, 0.1, 0.5])
def test_against_numpy(amount):
    random = np.random.default_rng(0)
    logits, y = random.normal(size=(20, 5)) * 3, random.integers(0, 5, 20)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = -((1 - amount) * log_p[np.arange(20), y] + amount * log_p.mean(axis=1))
    for labels in (y, y[:, None], y.astype("float32")):
        loss = SparseSmoothedCrossentropy(amount, reduction=None)(labels, logits.astype("float32"))
        np.testing.assert_allclose(keras.ops.convert_to_numpy(loss), expected, rtol=1e-5)
    of_keras = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=amount)
    rows, logits = np.eye(5, dtype="float32")[y], logits.astype("float32")
    np.testing.assert_allclose(
        float(SparseSmoothedCrossentropy(amount)(y, logits)), float(of_keras(rows, logits)), rtol=1e-5
    )


def test_sample_weights_count():
    logits, y = np.random.default_rng(0).normal(size=(4, 3)).astype("float32"), np.array([0, 1, 2, 0])
    each = keras.ops.convert_to_numpy(SparseSmoothedCrossentropy(0.1, reduction=None)(y, logits))
    weighted = float(SparseSmoothedCrossentropy(0.1)(y, logits, sample_weight=np.array([1.0, 0.0, 3.0, 0.0])))
    assert weighted == pytest.approx((each[0] + 3 * each[2]) / 4, rel=1e-5)


def test_the_losses_of_tasks():
    task = Classifier(small_backbone(), 3)
    assert smoothed(task.default_loss(), 0.0).get_config() == task.default_loss().get_config()
    assert smoothed(task.default_loss(), 0.2).label_smoothing == 0.2
    assert smoothed(task.default_loss(one_hot=True), 0.2).get_config()["label_smoothing"] == 0.2
    binary = smoothed(Classifier(small_backbone(), 1).default_loss(), 0.2)
    assert binary.get_config()["label_smoothing"] == 0.2 and binary.get_config()["from_logits"]
    with pytest.raises(ValueError, match="Leave it out"):
        smoothed(Regressor(small_backbone()).default_loss(), 0.1)
    with pytest.raises(ValueError, match="Leave it out"):
        smoothed(keras.losses.SparseCategoricalCrossentropy(), 0.1)
    for amount in (-0.1, 1.0, "0.1", True):
        with pytest.raises(ValueError, match=r"\[0, 1\)"):
            smoothed(task.default_loss(), amount)


def test_it_is_saved_and_trains():
    loss = SparseSmoothedCrossentropy(0.3, name="mine")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert (again.label_smoothing, again.name) == (0.3, "mine")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    model.compile(keras.optimizers.Adam(0.2), SparseSmoothedCrossentropy(0.2))
    x, y = np.repeat(np.eye(2, dtype="float32"), 8, axis=0), np.repeat([0, 1], 8)
    model.fit(x, y, epochs=60, verbose=0)
    p = keras.ops.convert_to_numpy(keras.ops.softmax(model(np.eye(2, dtype="float32"))))
    np.testing.assert_allclose(p.max(axis=1), 0.9, atol=0.03)  # 1 − ε + ε / 2
