"""Surgical fine-tuning: the blocks that the new data pull at hardest move, the rest stands still."""

import dataclasses
import math

from tftransfer.policies.policy import Policy, Stage

__all__ = ["surgical"]


def surgical(blocks=None, *, epochs=10, learning_rate=None):
    """Trains the head and those blocks whose relative gradient norm on the labelled data is largest.

    `‖gradient‖ / ‖weights‖` of each block is measured on the data before the stage begins, so put a
    `linear_probe` before it: with a random head it says little. Corrupted inputs call for the first blocks,
    new classes for the last; this finds out which. The blocks are read from the backbone's graph.

    Reference: Lee et al., "Surgical Fine-Tuning Improves Adaptation to Distribution Shifts", 2022,
    https://arxiv.org/abs/2210.11466 (Auto-RGN)

    Args:
        blocks: how many blocks move; None gives every block the multiplier `its norm / the largest`.
        epochs: passes over the labelled data.
        learning_rate: peak learning rate; None derives it as in `full`, and ten times that for `blocks=None`, where
            only the head and one block move at the whole of it.

    Returns:
        A `Policy` of one stage.

    Raises:
        ValueError: for a number out of range.

    Example:

    >>> from tftransfer.policies import linear_probe, surgical
    >>> linear_probe(5) + surgical(2, epochs=10)
    linear_probe(epochs=5, learning_rate=0.01) + surgical(2, epochs=10)
    """
    if blocks is not None and (not isinstance(blocks, int) or isinstance(blocks, bool) or blocks < 1):
        raise ValueError(f"surgical: blocks must be None or an integer of at least 1; received {blocks!r}.")
    name = "surgical" if blocks is None else f"surgical({blocks})"
    factor = 10 if blocks is None else 1
    return Policy([Stage(name, _LargestGradients(blocks), epochs, learning_rate, rate_factor=factor)])


@dataclasses.dataclass(frozen=True)
class _LargestGradients:
    blocks: int | None

    def __call__(self, context):
        body = context.groups[:-1]
        if context.gradient_norms is None:
            return {".*": 1.0}
        norms = context.gradient_norms()
        relative = [self._norm(norms, group) / max(self._size(context.paths, group), 1e-12) for group in body]
        if self.blocks is None:
            largest = max([*relative, 1e-30])
            return context.per_group([*(value / largest for value in relative), 1.0])
        chosen = sorted(range(len(body)), key=lambda i: -relative[i])[: self.blocks]
        return context.per_group([*(float(i in chosen) for i in range(len(body))), 1.0])

    @staticmethod
    def _norm(norms, group):
        return math.sqrt(sum(norms[path] ** 2 for path in group))

    @staticmethod
    def _size(paths, group):
        return math.sqrt(sum(float((paths[path].numpy() ** 2).sum()) for path in group))
