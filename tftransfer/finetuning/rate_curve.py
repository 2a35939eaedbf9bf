"""The loss over a rising learning rate, and the rate that it suggests."""

import numpy as np

__all__ = ["LearningRates"]


class LearningRates:
    """What `lr_find` found.

    `suggestion` is the rate where the smoothed loss falls steepest, but not less than a hundredth of the rate
    with the lowest loss, and not more than a tenth of it: a schedule with warm-up can take it as its peak.

    Attributes:
        rates: learning rate of each step made.
        losses: loss of each step's batch, before its update.
        smoothed: the losses, smoothed over a tenth of the ramp without delay.
        steepest: the rate where the smoothed loss falls fastest; None where it never falls.
        minimum: the rate with the lowest smoothed loss; None where it never falls.
        suggestion: the rate to use; None where the loss never falls.

    Args:
        rates: increasing learning rates.
        losses: one loss each.
        complete: whether the ramp reached its end, so that the loss never exploded.

    Example:

    >>> rates = 10.0 ** np.linspace(-6, 0, 61)
    >>> found = LearningRates(rates, 2 - 1 / (1 + (np.log10(rates) + 2) ** 2), complete=True)
    >>> found.suggestion < found.minimum < 0.1
    True
    """

    def __init__(self, rates, losses, *, complete):
        self.rates, self.losses = np.asarray(rates, "float64"), np.asarray(losses, "float64")
        self.complete = complete
        self.smoothed = _smooth(self.losses, max(3, len(self.losses) // 10))
        self.steepest = self.minimum = self.suggestion = None
        lowest = int(np.argmin(self.smoothed))
        if lowest >= 2 and self.smoothed[0] - self.smoothed[lowest] > 0.02 * abs(self.smoothed[0]):
            slope = np.gradient(self.smoothed)[: lowest + 1]
            self.minimum = float(self.rates[lowest])
            self.steepest = float(self.rates[np.argmin(slope)])
            self.suggestion = float(np.clip(self.steepest, self.minimum / 100, self.minimum / 10))

    def __str__(self):
        span = f"Over {len(self.rates)} steps with learning rates from {self.rates[0]:.3g} to {self.rates[-1]:.3g}"
        if self.suggestion is None:
            return (
                f"{span} the loss never fell: no rate to suggest. Raise the upper end of `between`, take "
                "more steps, or ask tftransfer.diagnose what is wrong."
            )
        text = (
            f"{span} the loss fell steepest at {self.steepest:.2g} and was lowest at {self.minimum:.2g}.\n"
            f"Suggested peak learning rate: {self.suggestion:.2g}"
        )
        if self.complete and self.minimum >= self.rates[-1] / 2:
            text += " (it was still falling at the end: raise the upper end of `between`)"
        return text

    __repr__ = __str__

    def plot(self, path=None):
        """Draws the loss over the learning rate, the suggestion marked.

        Args:
            path: where to save the figure as well; its ending names the format.

        Returns:
            The `matplotlib.figure.Figure`.

        Raises:
            ValueError: for an ending that is no picture format.
            OSError: when `path` cannot be written.
        """
        from tftransfer.evaluation.saving import Drawing  # not above: evaluation stands on fine-tuning

        return Drawing((6.4, 3.6), self._draw).plot(path)

    def _draw(self, figure):
        axes = figure.subplots()
        axes.plot(self.rates, self.losses, color="#c9d6e6", label="batches")
        axes.plot(self.rates, self.smoothed, color="#1f63a3", label="smoothed")
        if self.suggestion is not None:
            axes.axvline(self.suggestion, color="#d9822b", label=f"suggestion {self.suggestion:.2g}")
        low, high = self.smoothed.min(), self.smoothed[0]
        margin = max(high - low, 1e-3 * abs(high), 1e-12)
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss", ylim=(low - margin, high + margin))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)


def _smooth(values, width):
    """Mean under a triangle of `2 × width − 1` values around each one, so without delay."""
    triangle = np.r_[np.arange(1, width + 1), np.arange(width - 1, 0, -1)].astype("float64")
    weights = np.convolve(np.ones(len(values)), triangle, "full")
    middle = slice(width - 1, width - 1 + len(values))
    return (np.convolve(values, triangle, "full") / weights)[middle]
