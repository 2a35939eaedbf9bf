"""Full fine-tuning: every variable moves, at one learning rate."""

from tftransfer.policies.policy import Policy, Stage

__all__ = ["full"]


def full(epochs=10, *, learning_rate=None):
    """Trains everything at one learning rate: the choice with many labels, best after a `linear_probe`.

    Pretrained weights want small steps: without a `learning_rate` it is a third of pretraining's where the
    task knows that, else 1e-4, and `finetune` prints which.

    Args:
        epochs: passes over the labelled data.
        learning_rate: peak learning rate; None derives it as said above.

    Returns:
        A `Policy` of one stage.

    Raises:
        ValueError: for a number out of range.

    Example:

    >>> from tftransfer.policies import full
    >>> full(epochs=20, learning_rate=1e-4)
    full(epochs=20, learning_rate=0.0001)
    """
    return Policy([Stage("full", {r".*": 1.0}, epochs, learning_rate)])
