"""Labels of data of any kind, and how many classes they hold."""

import numpy as np
import pytest

from tftransfer.data import Examples, count_classes, labels_of

X = np.zeros((6, 3), "float32")
Y = np.array([0, 1, 2, 0, 1, 2])


def test_arrays():
    np.testing.assert_array_equal(labels_of((X, Y)), Y)
    assert count_classes((X, Y)) == count_classes(Examples(X, Y)) == count_classes((X, Y[:, None])) == 3
    assert count_classes((X, np.eye(5)[Y])) == 5
    assert count_classes((X, np.ones((6, 2))), multi_label=True) == 2
    assert count_classes((X, Y % 2)) == 2
    assert count_classes((X, Y.astype("float32"))) == 3


def test_names_count_also_without_examples():
    assert count_classes(Examples(X, Y, class_names="abcde")) == 5
    assert count_classes(Examples(X, Y * 2, class_names="abcde")) == 5


def test_datasets():
    tf = pytest.importorskip("tensorflow")
    dataset = tf.data.Dataset.from_tensor_slices((X, Y))
    pictures = tf.data.Dataset.from_tensor_slices({"image": X, "label": Y})
    for given in (dataset, dataset.batch(4), pictures, pictures.batch(4)):
        np.testing.assert_array_equal(labels_of(given), Y)
        assert count_classes(given) == 3
    rows = tf.data.Dataset.from_tensor_slices((X, np.eye(4)[Y]))
    assert count_classes(rows, input_shape=(3,)) == count_classes(rows.batch(2), input_shape=(3,)) == 4
    with pytest.raises(ValueError, match="no end"):
        labels_of(dataset.repeat())
    with pytest.raises(ValueError, match="empty"):
        labels_of(dataset.take(0))
    with pytest.raises(ValueError, match="no labels"):
        labels_of(dataset.map(lambda x, y: x))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "no labels"),
        (Y * 3, "up to 6"),
        (Y + 0.5, "fractional"),
        (Y - 1, "start at 0"),
        (Y * 0, "one class only"),
        (np.array(list("abcabc")), "Number the classes"),
    ],
)
def test_mistakes_raise(y, message):
    with pytest.raises(ValueError, match=message):
        count_classes((X, y))
