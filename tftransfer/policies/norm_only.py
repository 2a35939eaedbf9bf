"""Only the scales and offsets of normalization move."""

from tftransfer.policies.policy import Policy, Stage

__all__ = ["norm_only"]


def norm_only(epochs=10, *, learning_rate=None):
    """Trains the head and the scale and offset of every normalization layer, the statistics of which adapt as well.

    A good choice when the new pictures differ from the old in style rather than in content (contrast,
    camera).

    Reference: Frankle et al., "Training BatchNorm and Only BatchNorm", 2020, https://arxiv.org/abs/2003.00152
    Differs from it in: starts from pretrained, not random features, and trains the head.

    Args:
        epochs: passes over the labelled data.
        learning_rate: peak learning rate; None derives it, ten times that of `full`: few parameters move.

    Returns:
        A `Policy` of one stage.

    Raises:
        ValueError: for a number out of range, and, from `finetune`, for a backbone without normalization.

    Example:

    >>> from tftransfer.policies import norm_only
    >>> norm_only(epochs=5)
    norm_only(epochs=5)
    """
    rules = {r"^backbone/.*(gamma|beta|scale)$": 1.0, r"^head/": 1.0, r".*": 0.0}
    return Policy([Stage("norm_only", rules, epochs, learning_rate, rate_factor=10)])
