"""Gradual unfreezing: from the head downwards, a part of the backbone more in each stage."""

import dataclasses

from tftransfer.policies.policy import Policy, Stage

__all__ = ["gradual"]


def gradual(stages=4, *, epochs=5, learning_rate=None):
    """Trains the head first, then stage by stage a further part of the backbone, the top one first.

    What is unfrozen late cannot be damaged by the large gradients of a head that has not learned yet. The
    backbone's groups (blocks, read from its graph) are divided evenly over the stages; the last stage trains
    everything. Each stage below is freshly compiled; while the whole backbone is frozen it runs once.

    Reference: Howard and Ruder, "Universal Language Model Fine-tuning for Text Classification", 2018,
    https://arxiv.org/abs/1801.06146

    Args:
        stages: number of stages, at least 2; the first trains the head alone.
        epochs: passes over the labelled data in each stage.
        learning_rate: peak learning rate of each stage; None derives it as in `full`.

    Returns:
        A `Policy` of that many stages.

    Raises:
        ValueError: for a number out of range.

    Example:

    >>> from tftransfer.policies import gradual
    >>> gradual(3, epochs=2).epochs
    6
    """
    if not isinstance(stages, int) or isinstance(stages, bool) or stages < 2:
        raise ValueError(f"gradual: stages must be an integer of at least 2; received {stages!r}.")
    parts = [Stage(f"gradual_{i}", _Top(i, stages - 1), epochs, learning_rate) for i in range(stages)]
    rate = "" if learning_rate is None else f", learning_rate={learning_rate:g}"
    return Policy(parts, text=f"gradual({stages}, epochs={epochs}{rate})")


@dataclasses.dataclass(frozen=True)
class _Top:
    parts: int
    of: int

    def __call__(self, context):
        below = len(context.groups) - 1  # groups under the head
        frozen = below - round(below * self.parts / self.of)
        return context.per_group([0.0] * frozen + [1.0] * (below + 1 - frozen))
