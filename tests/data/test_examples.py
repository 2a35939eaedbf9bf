"""Examples: a pair that knows its classes and divides itself."""

import copy
import pickle

import keras
import numpy as np
import pytest

from tftransfer.data import Examples


def pictures(count=30, classes=3):
    y = np.arange(count) % classes
    return Examples(
        np.arange(count * 4, dtype="uint8").reshape(count, 2, 2, 1), y, class_names="abc", name="toy"
    )


def test_is_a_pair_with_attributes():
    examples = pictures()
    x, y = examples
    assert isinstance(examples, tuple) and len(examples) == 2 and examples.size == 30
    assert x is examples.x and y is examples.y and x.dtype == np.uint8
    assert examples.class_names == ["a", "b", "c"] and examples.name == "toy"
    assert Examples(x).y is None
    assert repr(examples) == "Examples(x=uint8 (30, 2, 2, 1), y=int64 (30,), 3 classes, name='toy')"
    assert Examples({"view_1": x, "view_2": x}).size == 30


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_copies_keep_attributes(copied):
    again = copied(pictures())
    assert again.class_names == ["a", "b", "c"] and again.name == "toy"
    np.testing.assert_array_equal(again.y, pictures().y)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="hands the pair to tf.data")
def test_goes_wherever_a_pair_goes():
    import tensorflow as tf

    x, y = next(iter(tf.data.Dataset.from_tensor_slices(pictures()).batch(5)))
    assert x.shape == (5, 2, 2, 1) and y.shape == (5,)
    doubled = keras.tree.map_structure(lambda part: part * 2, pictures())
    np.testing.assert_array_equal(doubled[1], pictures().y * 2)


@pytest.mark.parametrize(
    ("x", "y"), [(np.zeros(3), np.zeros(4)), (1.0, None), (None, None), (np.zeros(3), 1)]
)
def test_unequal_or_missing_rows_raise(x, y):
    with pytest.raises(ValueError, match="one length"):
        Examples(x, y)


def test_few_draws_the_same_number_of_each_class():
    examples = pictures()
    few, rest = examples.few(4, seed=7, rest=True)
    np.testing.assert_array_equal(np.bincount(few.y), [4, 4, 4])
    assert few.class_names == ["a", "b", "c"] and len(rest) == 18
    assert not np.isin(few.x[:, 0, 0, 0], examples.x[rest, 0, 0, 0]).any()
    np.testing.assert_array_equal(few.x, examples.few(4, seed=7).x)
    assert (few.x != examples.few(4, seed=8).x).any()


def test_few_reads_one_hot_labels():
    examples = pictures()
    few = Examples(examples.x, np.eye(3)[examples.y]).few(2)
    np.testing.assert_array_equal(few.y.sum(axis=0), [2, 2, 2])


@pytest.mark.parametrize("count", [0, 11, 1.5])
def test_few_refuses_what_is_not_there(count):
    with pytest.raises(ValueError, match=r"labels_per_class|fewer examples"):
        pictures().few(count)


def test_few_needs_classes():
    with pytest.raises(ValueError, match="no labels"):
        Examples(np.zeros(4)).few(1)
    with pytest.raises(ValueError, match="one class per example"):
        Examples(np.zeros(4), [0.1, 0.2, 0.3, 0.4]).few(1)


def test_split_is_stratified_disjoint_and_complete():
    examples = pictures(count=60)
    training, held_out = examples.split(0.2, seed=1)
    np.testing.assert_array_equal(np.bincount(held_out.y), [4, 4, 4])
    assert training.size == 48 and held_out.name == "toy"
    together = np.concatenate([training.x, held_out.x])[:, 0, 0, 0]
    np.testing.assert_array_equal(np.sort(together), np.sort(examples.x[:, 0, 0, 0]))


def test_split_without_labels_and_of_values():
    assert Examples(np.zeros((10, 2))).split(0.3)[1].size == 3
    assert Examples(np.zeros((10, 2)), np.linspace(0, 1, 10)).split(0.3)[1].size == 3


def test_split_says_what_to_do():
    rare = Examples(np.zeros(5), [0, 0, 0, 0, 1])
    with pytest.raises(ValueError, match="stratified=False"):
        rare.split(0.4)
    assert rare.split(0.4, stratified=False)[1].size == 2
    with pytest.raises(ValueError, match="in \\(0, 1\\)"):
        rare.split(2)


def test_whole_numbers_that_are_values_are_no_classes():
    prices = np.random.default_rng(0).integers(0, 10**6, 1200).astype("float64")
    kept, held_out = Examples(np.arange(1200), prices).split(0.25)
    assert (kept.size, held_out.size) == (900, 300)
