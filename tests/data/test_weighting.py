"""Class weights as sample weights: the same loss and the same step as Keras's class_weight."""

import keras
import numpy as np
import pytest

from tftransfer.data import Examples, batches
from tftransfer.data.weighting import weighted

pytestmark = pytest.mark.compute
X = np.random.default_rng(0).normal(size=(12, 2)).astype("float32")
Y = np.array([0] * 7 + [1] * 4 + [2])
WEIGHTS = {0: 0.5, 1: 1.0, 2: 4.0}
EXPECTED = np.array([0.5, 1.0, 4.0], "float32")[Y]


def test_arrays():
    for data in ((X, Y), Examples(X, Y), (X, Y[:, None]), (X, np.eye(3)[Y])):
        x, y, w = weighted(data, WEIGHTS)
        assert x is data[0] and len(y) == 12 and w.dtype == np.float32
        np.testing.assert_allclose(w, EXPECTED)
    np.testing.assert_allclose(weighted((X, np.full((12, 3), 1 / 3)), WEIGHTS)[2], 5.5 / 3, rtol=1e-6)


def test_it_trains_as_kerass_class_weight_does():
    models = []
    for data, options in (((X, Y), {"class_weight": WEIGHTS}), (weighted((X, Y), WEIGHTS), {})):
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        model.compile(keras.optimizers.SGD(0.5), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.fit(batches(data, batch_size=5), epochs=2, shuffle=False, verbose=0, **options)
        models.append(model.get_weights())
    for one, other in zip(*models, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_datasets():
    tf = pytest.importorskip("tensorflow")
    for y in (Y, Y[:, None], np.eye(3, dtype="float32")[Y]):
        dataset = tf.data.Dataset.from_tensor_slices((X, y))
        for given in (dataset, dataset.batch(5), dataset.batch(3)):
            parts = [np.ravel(w) for *_, w in weighted(given, WEIGHTS).as_numpy_iterator()]
            np.testing.assert_allclose(np.concatenate(parts), EXPECTED)


def test_mistakes_raise():
    with pytest.raises(ValueError, match="no labels"):
        weighted(X, WEIGHTS)
    with pytest.raises(ValueError, match="already"):
        weighted((X, Y, Y), WEIGHTS)
