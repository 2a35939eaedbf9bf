"""Means over repeated draws, with the 95% interval that says how far to trust them."""

from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit


class Interval(NamedTuple):
    """A mean over `n` draws and its interval from `low` to `high`, both NaN when one draw gives no spread.

    Example:
        >>> print(Interval(mean=0.9, low=0.88, high=0.92, n=5))
        0.900 ± 0.020
    """

    mean: float
    low: float
    high: float
    n: int

    @property
    def half_width(self):
        """Half the interval's width: the number behind the ±, NaN for a single draw."""
        return (self.high - self.low) / 2

    def __str__(self):
        return f"{self:.3f}"

    def __format__(self, spec):
        """Formats mean and half-width by `spec`; a sign asked for goes to the mean alone."""
        mean = format(self.mean, spec)
        return mean if np.isnan(self.low) else f"{mean} ± {format(self.half_width, spec.replace('+', ''))}"


def mean_interval(values, *, confidence=0.95):
    """Mean of a figure repeated over draws or seeds, and its Student t interval.

    `mean ± t(n - 1, (1 + confidence) / 2) · s / √n`, s the standard deviation with n - 1 in the denominator.
    It speaks of what varied between the values and of nothing else: over draws of the labels it says nothing
    about another pretraining seed or another test set.

    Reference: Student, "The probable error of a mean", Biometrika 6 (1908), https://doi.org/10.2307/2331554

    Args:
        values: One number per draw, shape (n,).
        confidence: Probability that such intervals cover the mean, between 0 and 1.

    Returns:
        An `Interval`; its bounds are NaN for a single value.

    Raises:
        ValueError: No values, values that are not finite or not one-dimensional, a confidence outside (0, 1).

    Example:
        >>> print(mean_interval([0.91, 0.93, 0.92, 0.94, 0.90]))
        0.920 ± 0.020
    """
    values = np.asarray(values, dtype="float64")
    if values.ndim != 1 or values.size == 0:
        raise ValueError(
            f"values must hold one number per draw, shape (n,) with n > 0; received shape {values.shape}."
        )
    if not np.isfinite(values).all():
        raise ValueError(f"values must be finite; received {values.tolist()}. Repeat the draws that failed.")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, for example 0.95; received {confidence}.")
    n, mean = values.size, values.mean()
    if n == 1:
        return Interval(float(mean), float("nan"), float("nan"), 1)
    half = stdtrit(n - 1, (1 + confidence) / 2) * values.std(ddof=1) / np.sqrt(n)
    return Interval(float(mean), float(mean - half), float(mean + half), n)


def paired_interval(values, baseline, *, confidence=0.95):
    """Mean of the differences `values - baseline`, draw by draw, and its t interval: is A better than B?

    Both arms must have seen the same draws in the same order: what a draw does to both then cancels, and the
    interval of the difference is far narrower than two separate intervals suggest. It is the interval of the
    paired t test: zero outside of it means p < 1 - confidence.

    Args:
        values: One number per draw, shape (n,).
        baseline: The other arm's number on the same draws, shape (n,).
        confidence: Probability that such intervals cover the mean difference, between 0 and 1.

    Returns:
        An `Interval` of the differences.

    Raises:
        ValueError: Different lengths, or what `mean_interval` refuses.

    Example:
        >>> print(paired_interval([0.93, 0.91, 0.94], [0.82, 0.80, 0.82]))
        0.113 ± 0.014
    """
    values, baseline = np.asarray(values, dtype="float64"), np.asarray(baseline, dtype="float64")
    if values.shape != baseline.shape:
        raise ValueError(
            "paired differences need the same draws for both arms, in the same order; "
            f"received shapes {values.shape} and {baseline.shape}."
        )
    return mean_interval(values - baseline, confidence=confidence)
