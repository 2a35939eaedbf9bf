"""What a diagnosis is given: data read once as the model gets them, and the loss as the model has it."""

import keras
import numpy as np
import pytest

from tests.finetuning.conftest import small_backbone
from tftransfer.finetuning.case import Case, input_shape_of, read, some
from tftransfer.tasks import Classifier, Regressor

pytestmark = pytest.mark.compute


def case(model, y=None):
    return Case(model, None, None, y, size=4, batch_size=2)


def test_a_sample_as_the_model_reads_it_and_all_labels():
    x = np.random.default_rng(0).integers(0, 256, (2000, 6, 6, 1)).astype("uint8")
    y = np.arange(2000) % 3
    task = Classifier(small_backbone(), 3)
    sample, labels, size, batch_size = read((x, y), task, 32)
    assert sample.dtype == np.float32 and 0 <= sample.min() < sample.max() <= 1 and len(sample) <= 512
    np.testing.assert_allclose(sample[0], x[0] / 255, rtol=1e-6)
    np.testing.assert_allclose(sample[-1], x[-1] / 255, rtol=1e-6)  # spread over all
    np.testing.assert_array_equal(labels, y)
    assert (size, batch_size) == (2000, 32)
    rescaling = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Rescaling(1 / 255), small_backbone()])
    assert read((x, y), Classifier(rescaling, 3), 32)[0].dtype == np.uint8
    assert read(x, task, 32)[1] is None


def test_datasets_are_read_whole_with_their_own_batches():
    tf = pytest.importorskip("tensorflow")
    x, y = np.random.default_rng(0).random((20, 6, 6, 1)).astype("float32"), np.arange(20) % 3
    task = Classifier(small_backbone(), 3)
    dataset = tf.data.Dataset.from_tensor_slices((x, y))
    sample, labels, size, batch_size = read(dataset.batch(8), task, 32)
    np.testing.assert_array_equal(labels, y)
    assert (len(sample), size, batch_size) == (8, 20, 8)
    assert read(dataset, task, 5)[3] == 5
    with pytest.raises(ValueError, match="no end"):
        read(dataset.repeat(), task, 5)
    with pytest.raises(ValueError, match="yields nothing"):
        read(dataset.take(0), task, 5)


def test_parts_and_widths():
    task, plain = (
        Classifier(small_backbone(), 3),
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(7)]),
    )
    assert case(task).backbone is task.backbone and case(task).head is task.head
    assert case(plain).backbone is plain is case(plain).head
    assert (case(task).units, case(plain).units, case(Regressor(small_backbone(), 2)).units) == (3, 7, 2)
    assert case(task).input_shape == input_shape_of(task.backbone) == (6, 6, 1)
    assert case(small_backbone()).units is None
    inputs = [keras.Input((2,)), keras.Input((2,))]
    assert input_shape_of(keras.Model(inputs, keras.layers.Add()(inputs))) is None


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("sparse_categorical_crossentropy", ("sparse", False)),
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), ("sparse", True)),
        (keras.losses.CategoricalCrossentropy(), ("categorical", False)),
        (keras.losses.binary_crossentropy, ("binary", False)),
        (lambda y, p: keras.losses.binary_crossentropy(y, p, from_logits=True), (None, None)),
        ("mse", (None, None)),
    ],
)
def test_the_compiled_loss(loss, expected):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd", loss)
    assert case(model).loss == expected


def test_a_loss_of_the_users_own_that_does_not_say():
    def my_binary_crossentropy(y, p):
        return keras.losses.binary_crossentropy(y, p)

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd", my_binary_crossentropy)
    assert case(model).loss == ("binary", None)


def test_the_tasks_own_loss_follows_the_labels():
    task = Classifier(small_backbone(), 3)
    assert case(task, np.arange(4) % 3).loss == ("sparse", True)
    assert case(task, np.eye(3)).loss == ("categorical", True)
    assert case(task, np.eye(3)).rows_of_labels and not case(task, np.ones((4, 1))).rows_of_labels
    assert case(Classifier(small_backbone(), 1), np.arange(4) % 2).loss == ("binary", True)


def test_lists_in_words():
    assert some("abc") == "a, b, c"
    assert some(range(9), limit=2) == "0, 1, ... (9 in all)"
