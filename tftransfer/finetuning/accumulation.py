"""Gradient accumulation that equals one big batch, for any Keras optimizer."""

import dataclasses

import keras
from keras import ops

from tftransfer import data as data_module
from tftransfer.data.batches import to_columns
from tftransfer.data.dataset_batches import is_dataset
from tftransfer.optimizers import copy_optimizer

__all__ = ["Accumulation", "accumulating", "accumulation_of"]

_CLASSES = {}  # Keras optimizer class -> the same with accumulation


@dataclasses.dataclass(frozen=True)
class Accumulation:
    """Which batches make an update together.

    Groups begin anew with each epoch, so that the last one may hold fewer batches.

    Attributes:
        every: batches to an update.
        steps: batches an epoch.
        size: examples in a batch.
        last: examples in the last batch of an epoch.
    """

    every: int
    steps: int
    size: int = 1
    last: int = 1

    @property
    def updates(self):
        """Updates an epoch."""
        return -(-self.steps // self.every)

    @property
    def padded(self):
        """Batches an epoch would have if its last group were whole."""
        return self.updates * self.every


def accumulation_of(accumulate, optimizer, data, *, batch_size, steps, input_shape):
    """The `Accumulation` of a `finetune` call; None where every batch is an update.

    Args:
        accumulate: batches to an update; None for the `gradient_accumulation_steps` of the optimizer.
        optimizer: the user's, or None.
        data: the training data.
        batch_size: examples a batch.
        steps: batches an epoch.
        input_shape: shape of one example.

    Raises:
        ValueError: for a number out of range, or an optimizer that overwrites weights with their average.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
    every = getattr(inner, "gradient_accumulation_steps", None) if accumulate is None else accumulate
    if every is None:
        return None
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise ValueError(f"accumulate is a whole number of batches from 1 up; received {every!r}.")
    if every == 1:
        return None
    if getattr(inner, "ema_overwrite_frequency", None):
        raise ValueError(
            "ema_overwrite_frequency counts batches, not updates, where gradients are accumulated. Leave it out: "
            "finetune validates and ends with the average by itself."
        )
    count = None
    if not is_dataset(data):
        count = to_columns(data)[1]
    elif not data_module.is_batched(data, input_shape=input_shape) and int(data.cardinality()) > 0:
        count = int(data.cardinality())
    if count is None:  # batches of the user's own, or of unknown sizes: they count alike
        return Accumulation(every, steps)
    size = min(batch_size, count)
    return Accumulation(every, steps, size, count - (steps - 1) * size)


def accumulating(optimizer, accumulation):
    """A copy of an optimizer that updates once for a group of batches, as it would for all their examples at once.

    Keras's `gradient_accumulation_steps` gives each batch of a group the same weight, lets groups run on over
    the ends of epochs, drops what is left at the end, counts batches in schedules, and moves the average of
    `use_ema` with every batch. Here a batch weighs by its number of examples, the last group of an epoch is
    as long as the epoch leaves it, and schedules and averages count updates.

    Args:
        optimizer: a `keras.optimizers.Optimizer`; its configuration is copied.
        accumulation: an `Accumulation`.
    """
    base = type(optimizer)
    if base not in _CLASSES:
        _CLASSES[base] = type(f"Accumulating{base.__name__}", (_Accumulating, base), {"__module__": __name__})
    return copy_optimizer(optimizer, kind=_CLASSES[base], accumulation=dataclasses.asdict(accumulation))


class _Accumulating:
    """Mixin before a Keras optimizer class; see `accumulating`.

    Keras updates where `(iterations + 1) % every == 0`: at the last batch of an epoch `iterations` jumps there.
    """

    def __init__(self, *args, accumulation, **kwargs):
        super().__init__(*args, **{**kwargs, "gradient_accumulation_steps": accumulation["every"]})
        self.accumulation = Accumulation(**accumulation)

    def apply(self, grads, trainable_variables=None):
        plan = self.accumulation
        place = self._iterations % plan.padded
        ends = ops.equal(place, plan.steps - 1)
        size = ops.where(ends, plan.last, plan.size)
        begun = (plan.updates - 1) * plan.every  # batches before the last group of an epoch
        of_last = (plan.steps - begun - 1) * plan.size + plan.last
        total = ops.where(place >= begun, of_last, plan.every * plan.size)
        share = ops.cast(plan.every * size, "float32") / ops.cast(
            total, "float32"
        )  # Keras divides by `every`
        self._iterations.assign_add(
            ops.cast(ops.where(ends, plan.padded - plan.steps, 0), self._iterations.dtype)
        )
        tensors = (None if g is None else ops.convert_to_tensor(g) for g in grads)
        super().apply(
            [None if g is None else g * ops.cast(share, g.dtype) for g in tensors], trainable_variables
        )

    def _get_current_learning_rate(self):
        schedule = self._learning_rate
        if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
            return schedule(self.iterations)
        return super()._get_current_learning_rate()

    def _update_model_variables_moving_average(self, trainable_variables):
        every = self.accumulation.every
        updates = ops.equal((self._iterations + 1) % every, 0)
        momentum = ops.where(updates, ops.where(self._iterations < every, 0.0, self.ema_momentum), 1.0)
        for variable, mean in zip(trainable_variables, self._model_variables_moving_average, strict=True):
            if mean is not None:
                keep = ops.cast(momentum, mean.dtype)
                mean.assign(keep * mean + (1 - keep) * ops.cast(variable, mean.dtype))

    def get_config(self):
        return {**super().get_config(), "accumulation": dataclasses.asdict(self.accumulation)}
