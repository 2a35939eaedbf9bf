"""BitFit: only biases move."""

from tftransfer.policies.policy import Policy, Stage

__all__ = ["bitfit"]


def bitfit(epochs=10, *, learning_rate=None):
    """Trains the head and every bias (also the offsets of normalization), about a thousandth of a transformer.

    Cheap to store and hard to overfit with few labels. BatchNormalization of the backbone runs in inference
    mode.

    Reference: Ben Zaken et al., "BitFit", 2021, https://arxiv.org/abs/2106.10199

    Args:
        epochs: passes over the labelled data.
        learning_rate: peak learning rate; None derives it, ten times that of `full`: few parameters move.

    Returns:
        A `Policy` of one stage.

    Raises:
        ValueError: for a number out of range, and, from `finetune`, for a backbone without biases.

    Example:

    >>> from tftransfer.policies import bitfit
    >>> bitfit(epochs=5)
    bitfit(epochs=5)
    """
    rules = {r"^backbone/.*(bias|beta)$": 1.0, r"^head/": 1.0, r".*": 0.0}
    return Policy([Stage("bitfit", rules, epochs, learning_rate, batch_norm="frozen", rate_factor=10)])
