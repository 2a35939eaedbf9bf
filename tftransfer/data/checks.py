"""Looks at data before any work begins, and says what is wrong with it and what to do."""

import math
import warnings

import keras
import numpy as np

from tftransfer.data.batches import to_columns
from tftransfer.data.dataset_batches import columns_of, is_batched, is_dataset
from tftransfer.data.labels import check_labels

_CHUNK = 1 << 24  # values looked at at once
_ALL = 1 << 30  # values up to which all are looked at; of bigger arrays, this many in rows spread evenly


def check_examples(
    x,
    y=None,
    *,
    input_shape=None,
    num_classes=None,
    task=None,
    training=True,
    value_range=(0, 1),
    name="the data",
):
    """Raises a clear ValueError for data that cannot be learned from, before any work begins.

    Looks for: no examples; text or objects instead of numbers; x and y of different lengths; a shape that the
    model does not read (missing channel axis, grey for colour, channels first, another size); NaN and
    infinity; labels that are missing, fractional, out of range, all of one class, or fewer than the classes.
    Warns of pictures that are no bytes and lie outside of the range that is expected, as in 0..255 where it is 0..1,
    or the other way round. Costs less than one pass over the data; of arrays beyond 2³⁰ values a spread sample of
    rows is looked at, of a `tf.data.Dataset` the first element.

    Args:
        x: Array, dict of arrays (views), `tf.data.Dataset`, pair (x, y) or `Examples`.
        y: Labels, when they are not part of `x`.
        input_shape: Shape of one example as the model reads it, such as `backbone.input_shape[1:]`; None
            entries fit all.
        num_classes: Number of classes (1: binary with one output; with "regression" the number of targets).
        task: None (labels are not looked at), "classification", "multi_label" or "regression".
        training: False for validation and test data, which may hold one class only.
        value_range: Expected range of pictures that are no bytes, `-math.inf` for a least value that does not matter;
            None to say nothing about ranges.
        name: How messages call the data, such as "validation_data".

    Raises:
        ValueError: What is wrong, where, and what to do.

    Example:

    >>> check_examples(np.zeros((4, 28, 28), "uint8"), input_shape=(28, 28, 1))
    Traceback (most recent call last):
    ...
    ValueError: the data has examples of shape (28, 28), but the model reads (28, 28, 1). Add a channel axis:
        x[..., None].
    """
    if is_dataset(x):
        x, y, whole = *_first_batch(x, y, input_shape, name), False
    else:
        whole = True
        columns = x if isinstance(x, tuple) else (x, y)
        if isinstance(x, tuple) and y is not None:
            raise ValueError(f"{name} is a pair (x, y) and y was given besides. Give labels once.")
        try:
            columns, _ = to_columns(columns)
        except ValueError as error:
            raise ValueError(str(error).replace("the data", name, 1)) from None
        x, y = columns[0], columns[1] if len(columns) > 1 else None
    parts = x if isinstance(x, dict) else {None: x}
    for key, part in parts.items():
        label = name if key is None else f"{name}[{key!r}]"
        _check_kind(part, label)
        if input_shape is not None:
            _check_shape(part.shape[1:], tuple(input_shape), label)
        _check_values(part, value_range, label)
    if task is not None:
        check_labels(y, num_classes=num_classes, task=task, training=training and whole, name=name)


def _first_batch(dataset, y, input_shape, name):
    if y is not None:
        raise ValueError(f"{name} is a tf.data.Dataset, so y must be part of its elements. Map it to (x, y).")
    batched = is_batched(dataset, input_shape=input_shape)
    for element in dataset.take(1).as_numpy_iterator():
        columns = columns_of(element)
        if not batched:
            columns = keras.tree.map_structure(lambda value: np.asarray(value)[None], columns)
        return columns[0], columns[1] if len(columns) > 1 else None
    raise ValueError(
        f"{name} is empty: the tf.data.Dataset yields nothing. Check the files or filters it is made from."
    )


def _check_kind(x, name):
    if x.dtype.kind in "US":
        raise ValueError(
            f"{name} holds text (dtype {x.dtype}), but numbers are needed. Turn it into numbers first, "
            "for example with keras.layers.TextVectorization or StringLookup; or build the backbone on a fitted "
            "tftransfer.layers.Tokenization, which reads texts."
        )
    if x.dtype.kind not in "fiubV" or (x.dtype.kind == "V" and x.dtype.names):
        raise ValueError(f"{name} has dtype {x.dtype}; numbers are needed. Convert with x.astype('float32').")
    if 0 in x.shape:
        raise ValueError(f"{name} is empty: shape {x.shape}. Check where it was loaded or filtered.")


def _fits(shape, wanted):
    return len(shape) == len(wanted) and all(w is None or s == w for s, w in zip(shape, wanted, strict=True))


def _check_shape(shape, wanted, name):
    if _fits(shape, wanted):
        return
    problem = f"{name} has examples of shape {shape}, but the model reads {wanted}."
    pictures = len(wanted) == 3
    if pictures and _fits((*shape, 1), wanted):
        cure = "Add a channel axis: x[..., None]."
    elif pictures and len(shape) == 2 and _fits((*shape, 3), wanted):
        cure = "Grey pictures for a colour model need three channels: np.repeat(x[..., None], 3, axis=-1)."
    elif pictures and shape[-1:] == (1,) and _fits((*shape[:-1], 3), wanted):
        cure = "Grey pictures for a colour model need three channels: np.repeat(x, 3, axis=-1)."
    elif pictures and shape[-1:] == (3,) and _fits((*shape[:-1], 1), wanted):
        cure = (
            "These are colour pictures for a grey model; average the channels, x.mean(axis=-1, "
            f"keepdims=True), or build the model for {(*wanted[:-1], 3)}."
        )
    elif pictures and len(shape) == 3 and _fits((*shape[1:], shape[0]), wanted):
        cure = "The channels come first; put them last: np.transpose(x, (0, 2, 3, 1))."
    elif pictures and len(shape) == 3 and shape[-1] == wanted[-1]:
        cure = f"Load or resize the pictures with image_size={wanted[:2]}, or build the model for {shape}."
    elif len(wanted) == 1 and None not in wanted and int(np.prod(shape)) == wanted[0]:
        cure = "Flatten the examples: x.reshape(len(x), -1)."
    elif len(wanted) == len(shape) + 1 and _fits(wanted[1:], shape):
        cure = "One example was given without the batch axis; give a batch: x[None]."
    else:
        cure = f"Reshape the data, or build the model with input_shape={shape}."
    raise ValueError(f"{problem} {cure}")


def _row_chunks(x):
    """Slices of rows (start, rows) that cover the array, or an even sample of it when it is very big."""
    values = max(1, int(np.prod(x.shape[1:])))
    rows = max(1, _CHUNK // values)
    chunks = -(-len(x) // rows)
    stride = max(1, -(-(len(x) * values) // _ALL))
    for i in range(0, chunks, stride):
        yield i * rows, x[i * rows : (i + 1) * rows]


def _check_values(x, value_range, name):
    if x.dtype.kind == "f":
        _check_finite(x, name)
    pictures = x.ndim == 4 and x.shape[-1] in (1, 3, 4) and x.dtype.kind in "fiu" and x.dtype != np.uint8
    if pictures and value_range is not None:
        _check_range(x, value_range, name)


def _check_finite(x, name):
    for start, rows in _row_chunks(x):
        with np.errstate(all="ignore"):
            if np.isfinite(np.sum(rows, dtype=None if rows.dtype.itemsize >= 4 else np.float32)):
                continue  # a sum carries NaN and infinity, at a fraction of the price
        bad = ~np.isfinite(rows)
        if bad.any():
            examples = np.flatnonzero(bad.reshape(len(rows), -1).any(axis=1))
            raise ValueError(
                f"{name} holds {int(np.isnan(rows).sum())} NaN and {int(np.isinf(rows).sum())} infinite "
                f"values in {len(examples)} of its examples (the first at row {start + int(examples[0])}). "
                f"Remove these examples (x[np.isfinite(x).all(axis=(1, ...))]), or fill the values "
                f"(np.nan_to_num)."
            )


def _check_range(x, value_range, name):
    sample = x[:: max(1, len(x) // 256)]
    low, high = float(sample.min()), float(sample.max())
    least, most = (0.0 if math.isinf(value_range[0]) else value_range[0]), value_range[1]
    span = most - least
    if low < value_range[0] - 0.25 * span:
        cure = (
            "What lies outside is cut off, or cannot be made: bring them there, (x - x.min()) / (x.max() - x.min()) "
            "for [0, 1], or give the augmentation a value_range that holds them."
        )
    elif high > most + 0.5 * span:
        largest = 255.0 if high <= 255 else high
        cure = f"Divide by the largest value (x / {largest}), or hand over uint8 pictures, which are scaled for you."
    elif most >= 255 and 0 < high <= 1:
        cure = "They were scaled, and are to be scaled once more: hand over x * 255.0, or uint8 pictures."
    else:
        return
    warnings.warn(
        f"{name}: pictures of {x.dtype} with values in [{low:.4g}, {high:.4g}], but [{least:g}, {most:g}] is expected. "
        f"{cure}",
        stacklevel=5,
    )
