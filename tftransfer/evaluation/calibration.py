"""Does a predicted probability mean what it says? Reliability bins and the expected calibration error."""

from typing import NamedTuple

import numpy as np


class Reliability(NamedTuple):
    """Predictions binned by confidence, arrays of shape (bins,); averages are NaN in empty bins."""

    edges: np.ndarray  # (bins + 1,)
    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray


def reliability(confidence, correct, *, bins=15):
    """Sorts predictions into bins of equal width by confidence and averages each: the reliability diagram.

    Bin m holds the confidences in ((m - 1) / bins, m / bins]; a confidence of exactly 0 joins the first.

    Reference: Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural networks", 2017,
    https://arxiv.org/abs/1706.04599

    Args:
        confidence: Probability given to the predicted class, in [0, 1], shape (n,).
        correct: Whether the prediction was right, shape (n,).
        bins: Number of bins.

    Returns:
        A `Reliability`.

    Raises:
        ValueError: Shapes that differ, no predictions, a confidence outside [0, 1], fewer than one bin.

    Example:
        >>> reliability([0.9, 0.8, 0.6], [1, 1, 0], bins=2).accuracy.round(2)
        array([ nan, 0.67])
    """
    confidence, correct = np.asarray(confidence, dtype="float64"), np.asarray(correct, dtype="float64")
    if confidence.shape != correct.shape or confidence.ndim != 1 or confidence.size == 0:
        raise ValueError(
            "confidence and correct must be of one shape (n,) with n > 0; "
            f"received {confidence.shape} and {correct.shape}."
        )
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise ValueError(
            f"confidence must be probabilities in [0, 1]; received values from {confidence.min()} to "
            f"{confidence.max()}. Logits need a softmax or sigmoid first."
        )
    if bins < 1:
        raise ValueError(f"bins must be at least 1, usually 15; received {bins}.")
    edges = np.linspace(0, 1, bins + 1)
    index = np.clip(
        np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1
    )  # right edge belongs to the bin
    count = np.bincount(index, minlength=bins)
    share = np.where(count, count, np.nan)
    return Reliability(
        edges=edges,
        confidence=np.bincount(index, weights=confidence, minlength=bins) / share,
        accuracy=np.bincount(index, weights=correct, minlength=bins) / share,
        count=count,
    )


def expected_calibration_error(confidence, correct, *, bins=15):
    """Gap between confidence and accuracy, averaged over bins by their counts; 0 is perfectly calibrated.

    `ECE = Σ_m |B_m| / n · |accuracy(B_m) - confidence(B_m)|` over bins of equal width. Use it beside
    accuracy: a fine-tuned network is often right and yet far too sure of itself. It depends on the number of
    bins and is biased upwards on small test sets, so compare it only at the same `bins` and n.

    Reference: Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural networks", 2017,
    https://arxiv.org/abs/1706.04599

    Args:
        confidence: Probability given to the predicted class, in [0, 1], shape (n,).
        correct: Whether the prediction was right, shape (n,).
        bins: Number of bins.

    Returns:
        A float in [0, 1].

    Raises:
        ValueError: What `reliability` refuses.

    Example:
        >>> expected_calibration_error([0.8, 0.8, 0.8, 0.8, 0.8], [1, 1, 1, 1, 0])  # 80% sure, 80% right
        0.0
    """
    table = reliability(confidence, correct, bins=bins)
    full = table.count > 0
    gap = np.abs(table.accuracy[full] - table.confidence[full])
    return float(np.sum(table.count[full] * gap) / table.count.sum())
