"""Class weights: balanced as scikit-learn has them, checked, and at work in fit."""

import keras
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from tftransfer.finetuning.class_weights import class_weights

pytestmark = pytest.mark.compute
X = np.zeros((12, 2), "float32")
Y = np.array([0] * 7 + [1] * 4 + [2])


def test_balanced_is_scikit_learns():
    expected = compute_class_weight("balanced", classes=np.arange(3), y=Y)
    for y in (Y, Y[:, None], np.eye(3)[Y]):
        weights = class_weights("balanced", (X, y), num_classes=3)
        np.testing.assert_allclose(list(weights.values()), expected)
        assert sorted(weights) == [0, 1, 2]
    assert np.mean([weights[c] for c in Y]) == pytest.approx(1)
    assert class_weights("balanced", (X, Y % 2), num_classes=1)[1] == pytest.approx(12 / (2 * 4))


def test_given_ones():
    assert class_weights(None, (X, Y), num_classes=3) is None
    for given in ({0: 1, 2: 3, 1: 2}, [1, 2, 3], np.array([1, 2, 3])):
        assert class_weights(given, None, num_classes=3) == {0: 1.0, 1: 2.0, 2: 3.0}


def test_datasets():
    tf = pytest.importorskip("tensorflow")
    dataset = tf.data.Dataset.from_tensor_slices((X, Y))
    expected = class_weights("balanced", (X, Y), num_classes=3)
    for given in (dataset, dataset.batch(5)):
        assert class_weights("balanced", given, num_classes=3) == expected


def test_fit_takes_them():
    """One step of SGD with class weights is one on the weighted loss."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(1.0), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    weights = class_weights("balanced", (X, Y), num_classes=3)
    model.fit(X, Y, class_weight=weights, batch_size=12, verbose=0)
    bias = np.array(keras.ops.convert_to_numpy(model.layers[0].bias))
    np.testing.assert_allclose(bias, 0, atol=1e-6)  # every class pulls alike: 1/3 each, as the logits say


@pytest.mark.parametrize(
    ("weights", "classes", "message"),
    [
        ("even", 3, "balanced"),
        (3.0, 3, "balanced"),
        ({0: 1.0}, 3, "classes 0 to 2"),
        ([1, 2, 3, 4], 3, "classes 0 to 2"),
        ([1, -2, 3], 3, "from 0 up"),
        ([0, 0, 0], 3, "not all 0"),
        ("balanced", 4, r"none of \[3\]"),
        ("balanced", 2, "labels up to 2"),
    ],
)
def test_mistakes_raise(weights, classes, message):
    with pytest.raises(ValueError, match=message):
        class_weights(weights, (X, Y), num_classes=classes)


def test_labels_are_needed():
    with pytest.raises(ValueError, match="no labels"):
        class_weights("balanced", X, num_classes=3)
    with pytest.raises(ValueError, match="one class per example"):
        class_weights("balanced", (X, np.ones((12, 3))), num_classes=3)
