"""Labels as users have them, integers, one-hot rows or sets of labels, checked and brought to one form."""

import numpy as np

from tftransfer.data import check_labels


def class_indices(labels, num_classes=None, *, name="the labels"):
    """Integer or one-hot labels as integers, checked.

    Args:
        labels: Integers of shape (n,) or (n, 1), or one-hot rows of shape (n, num_classes).
        num_classes: How many classes there are; None when unknown.
        name: How messages call them.

    Returns:
        An int64 array of shape (n,).

    Raises:
        ValueError: No labels, fractions, rows that are not one-hot, labels out of range.

    Example:
        >>> class_indices([[0, 0, 1], [1, 0, 0]])
        array([2, 0])
    """
    labels = _present(labels, name)
    check_labels(labels, num_classes=num_classes, task="classification", training=False, name=name)
    one_hot = labels.ndim == 2 and labels.shape[1] > 1
    return labels.argmax(1) if one_hot else labels.reshape(len(labels)).astype("int64")


def label_sets(labels, num_labels, *, name="the labels"):
    """Multi-label rows of 0 and 1, checked.

    Args:
        labels: Rows of 0 and 1, shape (n, num_labels).
        num_labels: How many labels there are.
        name: How messages call them.

    Returns:
        An int64 array of shape (n, num_labels).

    Raises:
        ValueError: No labels, another shape, or values other than 0 and 1.

    Example:
        >>> label_sets([[0, 1, 1], [0, 0, 0]], 3).tolist()
        [[0, 1, 1], [0, 0, 0]]
    """
    labels = _present(labels, name)
    check_labels(labels, num_classes=num_labels, task="multi_label", training=False, name=name)
    return labels.astype("int64")


def _present(labels, name):
    labels = None if labels is None else np.asarray(labels)
    if labels is None or labels.size == 0:
        received = "None" if labels is None else f"shape {labels.shape}"
        raise ValueError(
            f"{name} are missing ({received}): predictions are compared with them. Give data as (x, y)."
        )
    return labels
