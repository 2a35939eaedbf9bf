"""refresh_batch_norm(): exact statistics of the weights as they are, and nothing else changed."""

import keras
import numpy as np
import pytest

from tests.finetuning.conftest import pictures, small_backbone
from tftransfer.finetuning.batch_statistics import refresh_batch_norm
from tftransfer.tasks import Classifier

pytestmark = pytest.mark.compute


def numpy(variable):
    return np.array(keras.ops.convert_to_numpy(variable))


@pytest.mark.parametrize("batch_size", [7, 50, 500])
def test_the_first_layer_gets_the_statistics_of_all_examples(batch_size):
    x = np.random.default_rng(0).gamma(2.0, 3.0, (50, 4)).astype("float32")
    model = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(name="norm", momentum=0.9)])
    assert refresh_batch_norm(model, x, batch_size=batch_size) == 1
    np.testing.assert_allclose(numpy(model.layers[0].moving_mean), x.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(numpy(model.layers[0].moving_variance), x.var(axis=0), rtol=1e-4)
    assert model.layers[0].momentum == 0.9


def test_inference_becomes_what_training_saw():
    x, _ = pictures(48)
    model = small_backbone()
    expected = model(x, training=True)
    refresh_batch_norm(model, x, batch_size=48)
    np.testing.assert_allclose(numpy(model(x, training=False)), numpy(expected), atol=1e-4)


def test_nothing_else_changes_and_frozen_layers_keep_theirs(data):
    keras.utils.set_random_seed(3)
    task = Classifier(small_backbone(dropout=0.5), 3, augmentation=keras.layers.RandomFlip(seed=1))
    task.compile("adam", task.default_loss())
    task.fit(*data, verbose=0)
    functions = task.train_function, task.optimizer
    task.backbone.get_layer("norm_00").trainable = False
    before = [numpy(variable) for variable in task.variables]
    assert refresh_batch_norm(task, data, batch_size=8) == 1
    changed = {
        variable.path.split("/")[-2:][0] + "/" + variable.name
        for variable, value in zip(task.variables, before, strict=True)
        if not np.array_equal(value, numpy(variable))
    }
    assert changed == {"norm_01/moving_mean", "norm_01/moving_variance"}
    assert functions == (task.train_function, task.optimizer)
    task.backbone.get_layer("norm_01").trainable = False
    assert refresh_batch_norm(task, data) == 0


def test_again_after_the_weights_changed(data):
    model = small_backbone()
    for scale in (1.0, 2.0):
        model.set_weights([w * scale if w.ndim == 4 else w for w in model.get_weights()])
        refresh_batch_norm(model, data[0], batch_size=22)
        first = model.get_layer("conv_00")(data[0])
        np.testing.assert_allclose(
            numpy(model.get_layer("norm_00").moving_mean),
            numpy(first).mean(axis=(0, 1, 2)),
            rtol=1e-3,
            atol=1e-5,
        )


def test_datasets(data):
    tf = pytest.importorskip("tensorflow")
    one, other = small_backbone(), small_backbone()
    other.set_weights(one.get_weights())
    refresh_batch_norm(one, data, batch_size=22)
    refresh_batch_norm(other, tf.data.Dataset.from_tensor_slices(data), batch_size=22)
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
