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
        batch_norm: "auto": BatchNormalization is live, as training from scratch needs it; "frozen": that of the
            backbone keeps the statistics of pretraining. With few labels try both on development examples, for each was
            ahead somewhere (`linear_probe() + full()`, accuracy frozen and live): a small ResNet from MNIST to
            Fashion-MNIST 0.66 and 0.58 at 10 labels per class, 0.78 and 0.74 at 200; on Fashion-MNIST itself at 10
            after `SimMIM` by its published loss 0.62 and 0.51, after `RotationPrediction` 0.65 and 0.62, after
            `SimCLR` 0.72 both; a `cnn` on digits at 5 0.93 and 0.94.

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
