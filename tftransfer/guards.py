"""What watches over a training run: losses that are not finite, and features that say nothing."""

import math
import warnings

import keras
import numpy as np

ADVICE = (
    "Lower the learning rate (a tenth is a good first try), clip gradients (optimizer(global_clipnorm=1.0)), and look "
    "for extreme values in the data."
)


class LossNotFinite(ValueError, FloatingPointError):
    """The training loss became NaN or infinite: a `ValueError`, and a kind of its own for who tries several rates."""


class StopOnBadLoss(keras.callbacks.Callback):
    """Stops training with a clear error as soon as the loss is NaN or infinite.

    The loss is looked at every `every` steps and at the end of each epoch; the running mean that Keras logs
    stays NaN once it is, so nothing slips through.

    Args:
        every: steps between two looks; reading the loss at each would make an accelerator wait.
        where: words that the message adds to the place, such as the name of the stage.
        advice: what the message says is to be done.

    Raises:
        LossNotFinite: (a `ValueError`) with the epoch, the step, and what to do.
    """

    def __init__(self, every=20, *, where="", advice=ADVICE):
        super().__init__()
        self.every, self.where, self.advice = every, where, advice
        self._epoch = 0
        self._next = 0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        self._next = 0

    def on_train_batch_end(self, batch, logs=None):
        if batch >= self._next:  # with steps_per_execution not every step is told
            self._next = batch + self.every
            self._check(logs, f"epoch {self._epoch + 1}, step {batch + 1}")

    def on_epoch_end(self, epoch, logs=None):
        self._check(logs, f"epoch {epoch + 1}")

    def _check(self, logs, place):
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(float(loss)):
            raise LossNotFinite(
                f"The loss is {float(loss)} in {place}{self.where}: training has diverged, and its weights are "
                f"worthless. {self.advice}"
            )


def effective_rank(embeddings):
    """How many directions embeddings really use: the exponential of the entropy of their singular values.

    Reference: Roy & Vetterli, The effective rank, 2007, https://doi.org/10.5281/zenodo.40328

    Args:
        embeddings: array `(examples, dim)`.

    Returns:
        Float between 1 (all on one line, or all the same) and `min(examples, dim)`.

    Example:

    >>> round(effective_rank(np.eye(4) - 0.25), 3)
    3.0
    """
    centred = np.asarray(embeddings, "float64")
    centred = centred - centred.mean(axis=0)
    values = np.linalg.svd(centred, compute_uv=False)
    values = values[values > 1e-7 * max(values.max(initial=0.0), 1e-12)]
    if not values.size:
        return 1.0
    share = values / values.sum()
    return float(np.exp(-np.sum(share * np.log(share))))


class FeaturesCollapsed(ValueError):
    """The features no longer tell examples apart, and whoever trains them wanted the run to end then."""


def collapse(embeddings):
    """What is wrong with embeddings that no longer tell examples apart, in words; None when nothing is.

    Args:
        embeddings: array `(examples, dim)` of a few hundred different examples. One example says nothing.

    Example:

    >>> collapse(np.eye(12)) is None, collapse(np.ones((12, 12)))[:27]
    (True, 'The features have collapsed')
    """
    embeddings = np.asarray(embeddings, "float64")
    if len(embeddings) < 2:
        return None
    spread = embeddings.std(axis=0).mean()
    size = np.sqrt(np.mean(embeddings**2))
    rank = effective_rank(embeddings)
    directions = min(len(embeddings) - 1, embeddings.shape[1])  # of so few, one may rightly carry everything
    if spread > 1e-4 * max(size, 1e-12) and not (rank < 1.5 and directions >= 8):
        return None
    return (
        f"The features have collapsed: over {len(embeddings)} examples their standard deviation is {spread:.2g} "
        f"beside a size of {size:.2g}, and their effective rank {rank:.1f} of {embeddings.shape[1]}. They cannot "
        f"tell examples apart. Lower the learning rate, train longer, use a larger batch or temperature, or check "
        f"that the examples differ at all."
    )


def warn_of_collapse(embeddings):
    """Warns when embeddings no longer tell examples apart (`collapse`); silent otherwise.

    Returns:
        Whether they have collapsed.
    """
    found = collapse(embeddings)
    if found:
        warnings.warn(found)
    return found is not None
