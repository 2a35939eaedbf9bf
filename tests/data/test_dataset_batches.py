"""A user's own tf.data.Dataset: examples or batches."""

import keras
import numpy as np
import pytest

from tftransfer.data import batches, is_batched, steps_per_epoch

if keras.backend.backend() != "tensorflow":
    pytest.skip("tf.data", allow_module_level=True)

import tensorflow as tf

X = np.arange(40 * 16, dtype="float32").reshape(40, 4, 4, 1)
Y = np.arange(40)


def examples():
    return tf.data.Dataset.from_tensor_slices((X, Y))


def from_generator(batch):
    spec = tf.TensorSpec((None, 4, 4, 1) if batch else (4, 4, 1), tf.float32)
    return tf.data.Dataset.from_generator(lambda: iter(X[None] if batch else X), output_signature=spec)


CASES = [
    (lambda: examples(), False),
    (lambda: examples().shuffle(10).map(lambda x, y: (x, y)).prefetch(1), False),
    (lambda: examples().batch(8), True),
    (lambda: examples().batch(8, drop_remainder=True).map(lambda x, y: (x * 2, y)).cache().prefetch(1), True),
    (lambda: examples().batch(8).unbatch(), False),
    (lambda: examples().batch(8).map(lambda x, y: x).repeat().take(3), True),
    (lambda: tf.data.Dataset.from_tensor_slices(X), False),
    (lambda: tf.data.Dataset.from_tensor_slices({"view_1": X, "view_2": X}).batch(4), True),
    (lambda: tf.data.Dataset.from_tensor_slices({"view_1": X, "view_2": X}), False),
    (lambda: from_generator(True), True),
    (lambda: from_generator(False), False),
]


@pytest.mark.parametrize(("dataset", "batched"), CASES)
def test_is_batched(dataset, batched):
    assert is_batched(dataset()) is batched
    assert is_batched(dataset(), input_shape=(4, 4, 1)) is batched


def test_ranks_decide_when_the_shape_is_given():
    """Examples cut from a batch of series, which look like a batch of vectors."""
    windows = tf.data.Dataset.from_tensor_slices(np.zeros((6, 5, 2)))
    assert not is_batched(windows, input_shape=(5, 2)) and is_batched(windows, input_shape=(2,))
    with pytest.raises(ValueError, match="add a channel axis"):
        is_batched(windows, input_shape=(5, 2, 1, 1))


def test_examples_are_shuffled_and_batched():
    pipeline = batches(examples(), batch_size=16, shuffle=True, seed=1)
    passes = [np.concatenate([y for _, y in pipeline]) for _ in range(2)]
    assert (passes[0] != passes[1]).any() and sorted(passes[0]) == Y.tolist()
    assert [len(y) for _, y in pipeline] == [16, 16, 8]
    assert [len(x) for x in batches(examples(), batch_size=16, labels=False, drop_remainder=True)] == [16, 16]


def test_batches_are_taken_as_they_are():
    pipeline = batches(examples().batch(12), batch_size=3, shuffle=True)
    assert [len(x) for x, _ in pipeline] == [12, 12, 12, 4]
    np.testing.assert_array_equal(np.concatenate([y for _, y in pipeline]), Y)
    for dataset in (examples().batch(12), from_generator(True)):
        kept = batches(dataset, batch_size=3, labels=False, drop_remainder=True, input_shape=(4, 4, 1))
        assert {len(x) for x in kept} == ({12} if dataset is not None and len(list(kept)) == 3 else {40})
        assert kept.element_spec.shape[0] is not None


def test_scales_bytes_and_reads_tfds_dictionaries():
    dataset = tf.data.Dataset.from_tensor_slices(
        {"image": np.full((6, 4, 4, 1), 255, "uint8"), "label": Y[:6]}
    )
    [(x, y)] = batches(dataset, batch_size=6)
    assert float(x[0, 0, 0, 0]) == 1.0 and y.dtype == tf.int64
    [views] = batches(tf.data.Dataset.from_tensor_slices({"view_1": X, "view_2": X}), batch_size=40)
    assert sorted(views) == ["view_1", "view_2"]


def test_start_skips_what_was_done():
    options = {"batch_size": 16, "shuffle": True, "seed": 4, "repeat": True}
    whole = [y.numpy().tolist() for _, y in batches(examples(), **options).take(7)]
    rest = [y.numpy().tolist() for _, y in batches(examples(), start=4, **options).take(3)]
    assert rest == whole[4:]


def test_steps_per_epoch():
    assert steps_per_epoch(examples(), batch_size=16) == 3
    assert steps_per_epoch(examples(), batch_size=16, drop_remainder=True) == 2
    assert steps_per_epoch(examples().batch(4), batch_size=16) == 10
    assert steps_per_epoch(examples().filter(lambda x, y: y > 3), batch_size=16) is None
    assert steps_per_epoch(examples().repeat(), batch_size=16) is None


@pytest.mark.parametrize(
    "dataset, expected",
    [
        (lambda: examples().batch(8), 5),
        (lambda: examples().batch(7), 5),  # and a rest of five
        (lambda: examples().batch(7).prefetch(1).map(lambda x, y: x), 5),
        (lambda: examples().batch(7, drop_remainder=True), 5),
        (lambda: examples().batch(64), 0),
        (lambda: examples().batch(7).repeat(), None),
        (lambda: from_generator(batch=True), None),
        (
            lambda: (
                examples().filter(lambda *_: True).apply(tf.data.experimental.assert_cardinality(40)).batch(7)
            ),
            5,
        ),
        (lambda: examples().batch(7).take(3), 3),
        (lambda: examples().batch(7).skip(4), 1),  # seven and five: counted
    ],
)
def test_whole_batches_of_a_batched_dataset(dataset, expected):
    dataset = dataset()
    assert steps_per_epoch(dataset, batch_size=3, drop_remainder=True, input_shape=(4, 4, 1)) == expected
    if expected:
        pipeline = batches(dataset, batch_size=3, drop_remainder=True, input_shape=(4, 4, 1))
        assert sum(1 for _ in pipeline) == expected
