"""Full fine-tuning: every variable moves, at one learning rate."""

from tftransfer.policies.policy import Policy, Stage

__all__ = ["full"]


def full(epochs=10, *, learning_rate=None, batch_norm="auto"):
    """Trains everything at one learning rate: the choice with many labels, best after a `linear_probe`.

    Pretrained weights want small steps: without a `learning_rate` it is a third of pretraining's where the
    task knows that, else 1e-4, and `finetune` prints which.

    Args:
        epochs: passes over the labelled data.
        learning_rate: peak learning rate; None derives it as said above.
        batch_norm: "auto": BatchNormalization is live; "frozen": that of the backbone keeps the statistics of
            pretraining. Right where these are not the examples' own, as after `SimMIM`, which saw painted-over
            pictures: with 10 labels per class of Fashion-MNIST 0.62 frozen and 0.51 live, after `SimCLR` 0.69 both
            (a small ResNet, `linear_probe() + full()`). `diagnose` says where they are far.

    Returns:
        A `Policy` of one stage.

    Raises:
        ValueError: for a number out of range.

    Example:

    >>> from tftransfer.policies import full
    >>> full(epochs=20, learning_rate=1e-4)
    full(epochs=20, learning_rate=0.0001)
    >>> full(epochs=20, batch_norm="frozen")
    full(batch_norm='frozen', epochs=20)
    """
    name = "full" if batch_norm == "auto" else f"full({batch_norm=})"
    return Policy([Stage(name, {r".*": 1.0}, epochs, learning_rate, batch_norm=batch_norm)])
