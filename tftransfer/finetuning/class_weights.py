"""Class weights: what each class counts in the loss, written out or balanced from the labels."""

import collections.abc

import numpy as np

from tftransfer.data import Examples, labels_of

__all__ = ["class_weights"]


def class_weights(weights, data, *, num_classes):
    """The dict `{class: weight}` that `fit(class_weight=...)` takes.

    "balanced" gives class c the weight `n / (k · n_c)`, with n examples of k classes, n_c of them of c, so
    that every class counts the same in all; their mean over the examples is 1, and the loss keeps its size.
    Use it where a rare class matters as much as a common one (judged by macro F1); probabilities are then
    those of a world where all classes are equally common.

    Reference: King & Zeng, "Logistic Regression in Rare Events Data", 2001,
    https://doi.org/10.1093/oxfordjournals.pan.a004868

    Args:
        weights: "balanced", a dict `{class: weight}`, a sequence of one weight per class, or None.
        data: labelled `(x, y)` or a `tf.data.Dataset`; read for "balanced" only.
        num_classes: number of classes; 1 (a single logit) has the two classes 0 and 1.

    Returns:
        A dict with every class from 0 on, or None for None.

    Raises:
        ValueError: for weights of another kind or number, negative or all 0, labels of several classes each,
            or a class without examples under "balanced".

    Example:

    >>> class_weights("balanced", (np.zeros((4, 2)), [0, 0, 0, 1]), num_classes=2)
    {0: 0.6666666666666666, 1: 2.0}
    """
    if weights is None:
        return None
    classes = range(max(int(num_classes), 2))
    if isinstance(weights, str):
        if weights != "balanced":
            raise ValueError(f'class_weight is "balanced", a dict or a sequence; received {weights!r}.')
        y = labels_of(data)
        return _balanced(Examples(np.arange(len(y)), y).classes(), classes)
    if isinstance(weights, collections.abc.Mapping):
        known = dict(weights)
    elif np.ndim(weights) == 1:
        known = dict(enumerate(weights))
    else:
        raise ValueError(f'class_weight is "balanced", a dict or a sequence; received {weights!r}.')
    if sorted(known) != list(classes):
        raise ValueError(
            f"class_weight needs one weight for each of the classes 0 to {classes[-1]}; received {weights!r}."
        )
    values = {int(c): float(known[c]) for c in classes}
    if not all(np.isfinite(w) and w >= 0 for w in values.values()) or not any(values.values()):
        raise ValueError(f"class weights are finite numbers from 0 up, not all 0; received {weights!r}.")
    return values


def _balanced(labels, classes):
    counts = np.bincount(labels, minlength=len(classes))
    missing = [c for c in classes if not counts[c]]
    if missing or len(counts) > len(classes):
        raise ValueError(
            f'class_weight="balanced" needs examples of each of the {len(classes)} classes and of no other; there '
            f"are none of {missing[:10]}, and labels up to {len(counts) - 1}. Give a dict of weights instead."
        )
    return {c: float(counts.sum() / (len(classes) * counts[c])) for c in classes}
