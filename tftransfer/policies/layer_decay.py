"""Layer-wise learning-rate decay: the nearer to the input, the smaller the steps."""

from tftransfer.policies.policy import ByDepth, Policy, Stage

__all__ = ["layer_decay"]


def layer_decay(decay=0.75, *, epochs=10, learning_rate=None):
    """Trains everything, each group of layers at `decay` times the rate of the group above it.

    Early layers hold what is general, late ones what is particular: `multiplier = decay ** (distance to
    head)`. The usual choice for transformers pretrained without labels; with few labels 0.5 to 0.65, with
    many 0.75 to 0.9. The groups (blocks) are read from the backbone's graph.

    Reference: Clark et al., "ELECTRA", 2020, https://arxiv.org/abs/2003.10555; Bao et al., "BEiT", 2021,
    https://arxiv.org/abs/2106.08254

    Args:
        decay: factor from one group to the one below it, in (0, 1].
        epochs: passes over the labelled data.
        learning_rate: peak learning rate of the head; None derives it as in `full`.

    Returns:
        A `Policy` of one stage.

    Raises:
        ValueError: for a number out of range.

    Example:

    >>> from tftransfer.policies import layer_decay, linear_probe
    >>> linear_probe(3) + layer_decay(0.65, epochs=20)
    linear_probe(epochs=3, learning_rate=0.01) + layer_decay(0.65, epochs=20)
    """
    if not 0 < decay <= 1:
        raise ValueError(f"layer_decay: decay must lie in (0, 1]; received {decay!r}.")
    return Policy([Stage(f"layer_decay({decay:g})", ByDepth(decay), epochs, learning_rate)])
