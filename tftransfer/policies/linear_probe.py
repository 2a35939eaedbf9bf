"""Linear probing: the head alone learns, on features that stay as pretraining left them."""

from tftransfer.policies.policy import Policy, Stage

__all__ = ["linear_probe"]


def linear_probe(epochs=10, *, learning_rate=1e-2, init=None):
    """Trains the head with the backbone frozen: cheap, safe with few labels, the right start of a chain.

    A head that starts from random numbers sends large, meaningless gradients into the backbone; after a probe
    it no longer does (LP-FT): `linear_probe() + full()` keeps more of what was pretrained than `full()`
    alone, above all on data unlike the labelled ones. The backbone's BatchNormalization runs in inference
    mode and its statistics do not move. `finetune` runs the frozen backbone once per example, not once per
    epoch, where it can.

    Reference: Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform
    Out-of-Distribution", 2022, https://arxiv.org/abs/2202.10054

    Args:
        epochs: passes over the labelled data.
        learning_rate: peak learning rate of the head; high, since one linear layer on frozen features cannot
            diverge far and few labels mean few steps.
        init: None: the head goes on from where it is. `"ridge"`: it begins with the closed-form solution
            (`finetuning.ridge_head`) on embeddings that are computed for the probe anyway; class weights play no
            part in it. The head must be the task's own, one linear layer.

    Returns:
        A `Policy` of one stage.

    Raises:
        ValueError: for a number out of range, another `init`, and, from `finetune`, for a head that has no
            closed form.

    Example:

    >>> from tftransfer.policies import linear_probe
    >>> linear_probe(epochs=5)
    linear_probe(epochs=5, learning_rate=0.01)
    >>> linear_probe(epochs=2, init="ridge")
    linear_probe(epochs=2, learning_rate=0.01, init='ridge')
    """
    return Policy([Stage("linear_probe", {r"^head/": 1.0, r".*": 0.0}, epochs, learning_rate, init=init)])
