"""Looks at labels before any work begins."""

import numpy as np

TASKS = ("classification", "multi_label", "regression")


def check_labels(y, *, num_classes=None, task="classification", training=True, name="the data"):
    """Raises ValueError for labels that the task cannot learn from; see `check_examples`.

    Args:
        y: Array of shape (n,), (n, 1), one-hot (n, classes), 0/1 (n, classes) for "multi_label", or values.
        num_classes: Number of classes, or None when unknown; 1 is binary with one output.
        task: "classification", "multi_label" or "regression".
        training: True to refuse a single class and fewer examples than classes.
        name: How messages call the data.

    Example:

    >>> check_labels([0, 1, 7], num_classes=3)
    Traceback (most recent call last):
    ...
    ValueError: the data has labels from 0 to 7, but num_classes=3 allows 0 to 2. Raise num_classes to 8, or
        number ...
    """
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}. Received {task!r}.")
    if y is None:
        raise ValueError(f"{name} has no labels, and {task} needs them. Give a pair (x, y).")
    y = np.asarray(y)
    if y.dtype.kind in "USO":
        raise ValueError(
            f"{name} has labels of dtype {y.dtype} (such as {y.ravel()[:1].tolist()}), but numbers are "
            f"needed. Number the classes: class_names, y = np.unique(y, return_inverse=True)."
        )
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        rows = np.flatnonzero(~np.isfinite(y).reshape(len(y), -1).all(axis=1))
        raise ValueError(
            f"{name} has NaN or infinite labels in {len(rows)} rows (the first: {rows[0]}). Remove these "
            f"rows."
        )
    if task == "regression":
        _check_targets(y, num_classes, name)
    elif task == "multi_label":
        _check_multi_label(y, num_classes, name)
    else:
        _check_classes(y, num_classes, training, name)


def _check_targets(y, count, name):
    width = 1 if y.ndim == 1 else y.shape[-1]
    if y.ndim > 2 or (count is not None and width != count):
        raise ValueError(
            f"{name} has targets of shape {y.shape}, but the regressor gives {count or 'one or more'} per "
            f"example. Give y of shape (n,) or (n, targets), or build the regressor for that number of "
            f"targets."
        )


def _check_multi_label(y, num_classes, name):
    if y.ndim != 2 or (num_classes is not None and y.shape[1] != num_classes):
        raise ValueError(
            f"{name} has labels of shape {y.shape}, but several labels per example need "
            f"(n, {num_classes or 'classes'}) of 0 and 1. Use sklearn.preprocessing.MultiLabelBinarizer, "
            f"or multi_label=False for one class each."
        )
    if not np.isin(y, (0, 1)).all():
        raise ValueError(
            f"{name} has labels from {y.min()} to {y.max()}; several labels per example are 0 or 1 each."
        )


def _check_classes(y, num_classes, training, name):
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 2:
        if num_classes is not None and y.shape[1] != num_classes:
            raise ValueError(
                f"{name} has one-hot labels of {y.shape[1]} classes, but num_classes={num_classes}. Make "
                f"the two equal."
            )
        if (y < 0).any() or not np.allclose(y.sum(axis=1), 1, atol=1e-3):
            raise ValueError(
                f"{name} has labels of shape {y.shape} whose rows do not sum to 1, so they are no one-hot "
                f"classes. For several labels per example pass multi_label=True to the task."
            )
        num_classes, y = y.shape[1], y.argmax(axis=1)
    if y.ndim != 1:
        raise ValueError(
            f"{name} has labels of shape {y.shape}. Give class numbers (n,) or one-hot rows (n, classes)."
        )
    if y.dtype.kind == "f" and (y != np.round(y)).any():
        raise ValueError(
            f"{name} has fractional labels (such as {y[y != np.round(y)][0]}), but classes are numbered 0, "
            f"1, 2, ... For values instead of classes use a Regressor."
        )
    low, high = int(y.min()), int(y.max())
    allowed = max(num_classes, 2) if num_classes is not None else None
    if low < 0 or (allowed is not None and high >= allowed):
        bound = (
            "labels start at 0" if allowed is None else f"num_classes={num_classes} allows 0 to {allowed - 1}"
        )
        cure = (
            "Labels that count from 1: subtract 1 (y - 1)."
            if low == 1 and high == allowed
            else f"Raise num_classes to {high + 1}, or number the classes: np.unique(y, return_inverse=True)."
            if low >= 0
            else "Number the classes: np.unique(y, return_inverse=True)."
        )
        raise ValueError(f"{name} has labels from {low} to {high}, but {bound}. {cure}")
    if not training:
        return
    if low == high:
        raise ValueError(
            f"{name} has one class only: all {len(y)} labels are {low}. Give examples of at least two "
            f"classes."
        )
    if allowed is not None and len(y) < allowed:
        raise ValueError(
            f"{name} has {len(y)} examples for {allowed} classes. Give at least one example of each class, "
            f"or lower num_classes."
        )
