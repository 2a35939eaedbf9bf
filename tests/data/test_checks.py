"""Bad input is refused before any work, in words that help."""

import math
import time
import warnings

import keras
import numpy as np
import pytest

from tftransfer.data import Examples, check_examples

GOOD = np.random.default_rng(0).random((12, 8, 8, 3), np.float32)
LABELS = np.arange(12) % 3


def with_bad(value):
    x = GOOD.copy()
    x[7, 1, 1, 1] = value
    return x


def test_good_data_passes():
    for x in (GOOD, (GOOD * 255).astype("uint8"), {"view_1": GOOD, "view_2": GOOD}, GOOD.astype("float16")):
        assert check_examples(x, input_shape=(8, 8, 3)) is None
    check_examples(GOOD, LABELS, input_shape=(None, None, 3), num_classes=3, task="classification")
    check_examples(Examples(GOOD, LABELS), num_classes=3, task="classification")


@pytest.mark.parametrize(
    ("x", "options", "match"),
    [
        (GOOD[:0], {}, "empty"),
        (np.zeros((3, 0)), {}, "empty"),
        (np.array(["a", "b"]), {}, "text"),
        (np.array([[1], [1, 2]], dtype=object), {}, "objects"),
        (np.array([1 + 2j]), {}, "complex"),
        (with_bad(np.nan), {}, "1 NaN and 0 infinite values in 1 of its examples .*row 7"),
        (with_bad(np.inf), {}, "0 NaN and 1 infinite"),
        ({"view_1": GOOD, "view_2": with_bad(np.nan)}, {}, r"\['view_2'\]"),
        ({"view_1": GOOD, "view_2": GOOD[:3]}, {}, "one row per example"),
        ((GOOD, LABELS[:5]), {}, "one row per example"),
        (GOOD[..., 0], {"input_shape": (8, 8, 1)}, r"Add a channel axis: x\[\.\.\., None\]"),
        (GOOD[..., 0], {"input_shape": (8, 8, 3)}, "three channels"),
        (GOOD[..., :1], {"input_shape": (8, 8, 3)}, "three channels"),
        (GOOD, {"input_shape": (8, 8, 1)}, "average the channels"),
        (np.moveaxis(GOOD, -1, 1), {"input_shape": (8, 8, 3)}, "channels come first"),
        (GOOD, {"input_shape": (32, 32, 3)}, r"image_size=\(32, 32\)"),
        (GOOD, {"input_shape": (192,)}, "Flatten"),
        (GOOD[0], {"input_shape": (8, 8, 3)}, "batch axis"),
        (GOOD, {"input_shape": (5, 5)}, "Reshape"),
        (GOOD, {"task": "classification"}, "no labels"),
        (GOOD, {"task": "clustering", "y": LABELS}, "task must be one of"),
        (Examples(GOOD, LABELS), {"y": LABELS}, "once"),
    ],
)
def test_bad_data_raises(x, options, match):
    with pytest.raises(ValueError, match=match):
        check_examples(x, **options)


def test_messages_call_the_data_by_its_name():
    with pytest.raises(ValueError, match=r"^validation_data is empty"):
        check_examples(GOOD[:0], name="validation_data")


def test_float_pictures_in_bytes_range_warn():
    with pytest.warns(UserWarning, match="x / 255.0"):
        check_examples(GOOD * 255)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_examples(GOOD * 255, value_range=None)
        check_examples(np.full((4, 3), 900.0))  # a table, not pictures


@pytest.mark.parametrize(
    ("x", "value_range", "match"),
    [
        ((GOOD * 255).astype("int64"), (0, 1), r"pictures of int64 .*x / 255\.0"),  # bytes alone are scaled
        ((GOOD * 65535).astype("uint16"), (0, 1), r"x / 65\d\d\d"),
        (GOOD * 2 - 1, (0, 1), r"\[0, 1\] is expected.*x\.min\(\)"),
        (GOOD * 2 - 2, (-1, 1), r"\[-1, 1\] is expected"),
        (GOOD, (-math.inf, 255.0), r"\[0, 255\] is expected.*x \* 255\.0"),
        (GOOD * 600, (0, 255), r"x / 59\d"),
    ],
)
def test_pictures_in_another_range_warn(x, value_range, match):
    with pytest.warns(UserWarning, match=match):
        check_examples(x, value_range=value_range)


def test_pictures_in_their_range_pass():
    for x, value_range in (
        (GOOD * 2 - 1, (-math.inf, 1)),
        (GOOD * 2 - 1, (-1, 1)),
        (GOOD * 1.2 - 0.1, (0, 1)),  # what bicubic resizing leaves
        (GOOD * 255, (0, 255)),
        ((GOOD * 255).astype("int64"), (-math.inf, 255)),
        ((GOOD * 255).astype("uint8"), (0, 1)),
        (GOOD > 0.5, (0, 1)),
        (GOOD * 0, (0, 255)),
    ):
        assert check_examples(x, value_range=value_range) is None


def test_large_finite_values_are_no_infinity():
    check_examples(np.full((4, 1000), 3e38, np.float32))


def test_a_big_array_costs_little():
    x = np.zeros((20_000, 32, 32, 3), np.float32)  # 0.25 GB
    begun = time.process_time()
    check_examples(x, input_shape=(32, 32, 3))
    assert time.process_time() - begun < 1
    x[-1, -1, -1, -1] = np.nan
    with pytest.raises(ValueError, match="row 19999"):
        check_examples(x)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.data")
def test_datasets_are_judged_by_their_first_element():
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices((GOOD, LABELS))
    options = {"input_shape": (8, 8, 3), "num_classes": 3, "task": "classification"}
    check_examples(dataset, **options)
    check_examples(dataset.batch(2), **options)
    with pytest.raises(ValueError, match="labels from 0 to 2"):
        check_examples(dataset.batch(4), num_classes=2, task="classification")
    with pytest.raises(ValueError, match="no labels"):
        check_examples(dataset.map(lambda x, y: x), **options)
    with pytest.raises(ValueError, match="NaN"):
        check_examples(dataset.map(lambda x, y: (x * np.nan, y)), **options)
    with pytest.raises(ValueError, match="add a channel axis"):
        check_examples(dataset, input_shape=(8,))
    with pytest.raises(ValueError, match="empty"):
        check_examples(dataset.take(0))
