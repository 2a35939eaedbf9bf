"""The labels of data of any kind, and how many classes they hold."""

import numpy as np

from tftransfer.data.batches import to_columns
from tftransfer.data.dataset_batches import columns_of, is_batched, is_dataset
from tftransfer.data.labels import check_labels

_CHUNK = 4096  # examples of a tf.data.Dataset at a time


def labels_of(data, *, input_shape=None, name="the data"):
    """All labels of labelled data, as one array; a `tf.data.Dataset` is read once.

    Args:
        data: pair (x, y), `Examples`, or a `tf.data.Dataset` of examples or batches.
        input_shape: as in `batches`; tells batches from examples.
        name: how messages call the data.

    Returns:
        NumPy array `(examples, ...)`.

    Raises:
        ValueError: when there are no labels, or the dataset has no end or no examples.

    Example:

    >>> labels_of((np.zeros((3, 2)), [0, 2, 1]))
    array([0, 2, 1])
    """
    missing = ValueError(f"{name} has no labels. Give a pair (x, y), or a tf.data.Dataset of pairs.")
    if not is_dataset(data):
        columns, _ = to_columns(data)
        if len(columns) < 2:
            raise missing
        return columns[1]
    if len(columns_of(data.element_spec)) < 2:
        raise missing
    if int(data.cardinality()) == -1:
        raise ValueError(f"{name} has no end: the tf.data.Dataset was repeated. Leave .repeat() out.")
    batched = is_batched(data, input_shape=input_shape)
    labels = data.map(lambda *element: columns_of(element[0] if len(element) == 1 else element)[1])
    parts = list((labels if batched else labels.batch(_CHUNK)).as_numpy_iterator())
    if not parts:
        raise ValueError(f"{name} is empty: the tf.data.Dataset yields nothing. Check what it is made from.")
    return np.concatenate(parts)


def count_classes(data, *, multi_label=False, input_shape=None):
    """How many classes labelled data hold: columns of rows, names of classes, or the highest number and 1.

    Args:
        data: as in `labels_of`; its `class_names`, where it has any, count even if some have no example here.
        multi_label: whether labels are rows of 0 and 1 with several classes each.
        input_shape: as in `batches`.

    Returns:
        A whole number from 2 up (from 1 up for rows of 0 and 1).

    Raises:
        ValueError: when there are no labels, they are no classes, or they leave numbers out: some class below
            the highest has no example, and there are no names to say that it exists.

    Example:

    >>> count_classes((np.zeros((4, 2)), [0, 1, 2, 1]))
    3
    """
    y = labels_of(data, input_shape=input_shape)
    check_labels(y, task="multi_label" if multi_label else "classification")
    if y.ndim == 2 and (multi_label or y.shape[1] > 1):
        return int(y.shape[1])
    found = np.unique(y).astype(int)
    names = getattr(data, "class_names", None)
    if names is not None and len(names) > found[-1]:
        return len(names)
    if len(found) != found[-1] + 1:
        absent = np.setdiff1d(np.arange(found[-1] + 1), found)
        raise ValueError(
            f"the number of classes cannot be read from these labels: they go up to {found[-1]}, and {len(absent)} "
            f"numbers below are absent ({', '.join(map(str, absent[:5]))}, ...). Say num_classes, or number the "
            f"classes anew: np.unique(y, return_inverse=True)."
        )
    return int(found[-1]) + 1
