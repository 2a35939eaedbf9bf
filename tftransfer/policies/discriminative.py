"""Discriminative fine-tuning: learning rates spread evenly, in ratio, from the input to the head."""

from tftransfer.policies.policy import ByDepth, Policy, Stage

__all__ = ["discriminative"]


def discriminative(lowest=0.01, *, epochs=10, learning_rate=None):
    """Trains everything; the first layers move with `lowest` times the head's rate, those between in even ratios.

    `multiplier = lowest ** (distance to head / distance of the input)`: unlike `layer_decay`, the spread does
    not depend on how deep the backbone is, so that one number serves all backbones. (fastai's `slice(lr /
    100, lr)`.)

    Reference: Howard and Ruder, "Universal Language Model Fine-tuning for Text Classification", 2018,
    https://arxiv.org/abs/1801.06146
    Differs from it in: rates spaced between two ends, instead of a factor of 2.6 from layer to layer.

    Args:
        lowest: multiplier of the first group of layers, in (0, 1].
        epochs: passes over the labelled data.
        learning_rate: peak learning rate of the head; None derives it, ten times that of `full`, so that the
            middle of the backbone moves about as fast as there.

    Returns:
        A `Policy` of one stage.

    Raises:
        ValueError: for a number out of range.

    Example:

    >>> from tftransfer.policies import discriminative
    >>> discriminative(epochs=5, learning_rate=1e-3)
    discriminative(0.01, epochs=5, learning_rate=0.001)
    """
    if not 0 < lowest <= 1:
        raise ValueError(f"discriminative: lowest must lie in (0, 1]; received {lowest!r}.")
    rules = ByDepth(lowest, whole=True)
    return Policy([Stage(f"discriminative({lowest:g})", rules, epochs, learning_rate, rate_factor=10)])
