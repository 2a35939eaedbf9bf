"""Schedules that live inside the training step: a count of steps, and how far the run has come."""

import math

import keras
from keras import ops

__all__ = ["StepCount", "cosine"]


def cosine(start, end, share):
    """`end + (start - end) · (1 + cos(π · share)) / 2`: from `start` at share 0 to `end` at share 1.

    Args:
        start: value at share 0.
        end: value at share 1.
        share: number or scalar tensor in [0, 1], such as `StepCount.share()`.

    Returns:
        Float32 scalar.

    Example:

    >>> [round(float(cosine(0.9, 1.0, share)), 3) for share in (0.0, 0.5, 1.0)]
    [0.9, 0.95, 1.0]
    """
    return end + (start - end) * (1 + ops.cos(math.pi * ops.cast(share, "float32"))) / 2


class StepCount(keras.layers.Layer):
    """Counts training steps in a variable of the model, so that a schedule is right however steps are executed.

    A callback sees one step in `steps_per_execution`, and none inside a compiled loop; this counter is part of the
    step. `share()` is the part of the planned steps that is done, and stays 0 while no plan is known:
    `pretrain` makes one (`Objective.plan`), with plain `fit` call `objective.plan(steps)` yourself.

    Example:

    >>> count = StepCount()
    >>> count.plan(4)
    >>> count.advance()
    >>> float(count.share())
    0.25
    """

    def __init__(self, **kwargs):
        super().__init__(**{"name": "step_count", "autocast": False, **kwargs})
        self.steps = self.add_weight(
            shape=(), initializer="zeros", dtype="int32", trainable=False, name="steps"
        )
        self.planned = self.add_weight(
            shape=(), initializer="zeros", dtype="int32", trainable=False, name="planned"
        )
        self.built = True

    def plan(self, steps):
        """Says how many steps the whole run has."""
        self.planned.assign(int(steps))

    def advance(self):
        """Counts one step; call it where the training step is computed."""
        self.steps.assign(self.steps + 1)

    def share(self):
        """Float32 scalar in [0, 1]."""
        steps, planned = ops.cast(self.steps, "float32"), ops.cast(self.planned, "float32")
        return ops.where(planned > 0, ops.minimum(steps / ops.maximum(planned, 1.0), 1.0), 0.0)

    def get_config(self):
        return {"name": self.name}
