"""Batches of arrays: order, resumption, both engines."""

import keras
import numpy as np
import pytest

from tftransfer.data import NumpyBatches, array_batches, batches

pytestmark = pytest.mark.compute
X, Y = np.arange(10, dtype="int64"), np.arange(10) * 10


def numpy_engine(columns, **options):
    return NumpyBatches(columns, len(columns[0]), **options)


def tensorflow_engine(columns, **options):
    return array_batches.tensorflow_batches(columns, len(columns[0]), **options)


ENGINES = [
    numpy_engine,
    pytest.param(
        tensorflow_engine,
        marks=pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the engine of TensorFlow"),
    ),
]


def read(pipeline, count=None):
    out = []
    for i, batch in enumerate(pipeline):
        if i == count:
            break
        out.append([np.asarray(part).tolist() for part in batch])
    return out


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("drop_remainder", [False, True])
@pytest.mark.parametrize("batch_size", [3, 5, 16])
def test_a_pass_sees_each_example_once(engine, batch_size, drop_remainder):
    if drop_remainder and batch_size > len(X):
        return
    pipeline = engine((X, Y), batch_size=batch_size, shuffle=True, drop_remainder=drop_remainder)
    for _ in range(2):
        x = [value for part, _ in read(pipeline) for value in part]
        y = [value for _, part in read(pipeline) for value in part]
        wanted = len(X) // batch_size * batch_size if drop_remainder else len(X)
        assert len(set(x)) == len(x) == len(y) == wanted
    assert all(np.array_equal(np.array(a) * 10, b) for a, b in read(pipeline))


@pytest.mark.parametrize("engine", ENGINES)
def test_without_shuffling_the_order_is_kept(engine):
    assert [x for x, _ in read(engine((X, Y), batch_size=4))] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [x for x, _ in read(engine((X, Y), batch_size=4, start=2))] == [[8, 9]]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("drop_remainder", [False, True])
@pytest.mark.parametrize("start", [1, 3, 4, 11])
def test_start_continues_exactly(engine, start, drop_remainder):
    options = {"batch_size": 3, "shuffle": True, "seed": 5, "drop_remainder": drop_remainder, "repeat": True}
    whole = read(engine((X, Y), **options), 20)
    assert read(engine((X, Y), start=start, **options), 20 - start) == whole[start:]
    steps = 3 if drop_remainder else 4
    epochs = [[v for x, _ in whole[i : i + steps] for v in x] for i in range(0, 16, steps)]
    assert len({tuple(epoch) for epoch in epochs}) == len(epochs), "every epoch has its own order"
    assert all(len(set(epoch)) == len(epoch) for epoch in epochs)


@pytest.mark.parametrize("engine", ENGINES)
def test_seed_decides(engine):
    one, same, other = (
        read(engine((X, Y), batch_size=10, shuffle=True, repeat=True, seed=s), 2) for s in (1, 1, 2)
    )
    assert one == same != other


def test_passes_differ_under_fit():
    """Keras iterates a finite pipeline anew each epoch."""
    x = np.arange(32, dtype="float32")[:, None]
    seen = []

    class Spy(keras.layers.Layer):
        def call(self, inputs):
            return inputs

    model = keras.Sequential([keras.Input((1,)), Spy(), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=keras.backend.backend() == "tensorflow")
    pipeline = batches((x, x), batch_size=8, shuffle=True)
    for _ in range(2):
        seen.append(np.concatenate([np.asarray(part).ravel() for part, _ in pipeline]).tolist())
        if isinstance(pipeline, NumpyBatches):
            pipeline.on_epoch_end()
    assert seen[0] != seen[1] and sorted(seen[0]) == sorted(seen[1])
    assert len(model.fit(pipeline, epochs=2, shuffle=False, verbose=0).history["loss"]) == 2


def test_fit_continues_exactly():
    """Two epochs in one go, or one and then the other by `start`, give the same weights."""
    x = np.random.default_rng(0).random((20, 3), np.float32)
    y = x @ np.array([[1.0], [2.0], [3.0]], np.float32)
    options = {"batch_size": 6, "shuffle": True, "repeat": True, "seed": 3}

    def model():
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        return model

    whole, halves = model(), model()
    whole.fit(batches((x, y), **options), epochs=2, steps_per_epoch=4, shuffle=False, verbose=0)
    for start in (0, 4):
        halves.fit(batches((x, y), start=start, **options), steps_per_epoch=4, shuffle=False, verbose=0)
    np.testing.assert_array_equal(whole.get_weights()[0], halves.get_weights()[0])


@pytest.mark.parametrize("engine", ENGINES)
def test_bytes_become_floats_and_labels_stay(engine):
    pictures = np.arange(256, dtype="uint8").reshape(4, 8, 8, 1)
    labels = np.arange(4, dtype="uint8")
    [(x, y)] = engine((pictures, labels), batch_size=4)
    np.testing.assert_array_equal(np.asarray(x), pictures.astype("float32") / np.float32(255))
    assert np.asarray(y).dtype == np.uint8
    [(x, _)] = engine((pictures.astype("float64"), labels), batch_size=4)
    assert np.asarray(x).dtype == np.float32
    [(x, _)] = engine((pictures, labels), batch_size=4, scale=False)
    assert np.asarray(x).dtype == np.uint8


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="static shapes of tf.data")
@pytest.mark.parametrize(
    ("batch_size", "drop", "static"), [(5, False, 5), (4, False, None), (4, True, 4), (64, False, 10)]
)
def test_batch_size_is_static_where_it_can_be(batch_size, drop, static):
    spec = tensorflow_engine((np.zeros((10, 2)),), batch_size=batch_size, drop_remainder=drop).element_spec
    assert spec.shape.as_list() == [static, 2]
