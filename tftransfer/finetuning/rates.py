"""The learning rate of a stage, its warm-up and decay, and the optimizer that follows it."""

import keras
from keras import ops

from tftransfer.finetuning.accumulation import accumulating
from tftransfer.finetuning.freezing import variable_paths
from tftransfer.layers import register
from tftransfer.layers.schedule import cosine
from tftransfer.optimizers import copy_optimizer, with_resolved
from tftransfer.policies import OneCycle

__all__ = ["OneCycleSchedule", "make_optimizer", "stage_rate"]

DEFAULT_RATE = 1e-4
HIGHEST_RATE = 1e-3  # a rate of SGD in pretraining would be far too high for Adam
_SETS_THE_RATE = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau)


def stage_rate(stage, task, optimizer=None):
    """The peak learning rate of a stage, and where it comes from.

    Args:
        stage: a `policies.Stage`.
        task: the task; its `pretraining_learning_rate` may be None.
        optimizer: the user's optimizer, or None.

    Returns:
        `(rate, origin)`: a float (or the user's `LearningRateSchedule`) and a few words for the summary line.
    """
    if stage.learning_rate is not None:
        return float(stage.learning_rate), ""
    if optimizer is not None:
        schedule = getattr(optimizer, "_learning_rate", None)
        if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
            return schedule, ""
        return float(optimizer.learning_rate), "the optimizer's"
    pretraining = getattr(task, "pretraining_learning_rate", None)
    if pretraining:
        rate, origin = min(float(pretraining) / 3, HIGHEST_RATE), "a third of pretraining's"
        origin += f", at most {HIGHEST_RATE:g}" * (pretraining / 3 > HIGHEST_RATE)
    else:
        rate, origin = DEFAULT_RATE, "the default"
    factor = stage.rate_factor
    return rate * factor, origin if factor == 1 else f"{factor:g} times full tuning's, {rate:g}"


def make_optimizer(
    rate,
    *,
    schedule,
    steps,
    multipliers=None,
    task=None,
    optimizer=None,
    callbacks=(),
    accumulation=None,
):
    """A fresh optimizer for one stage.

    Args:
        rate: the peak rate, or a `LearningRateSchedule` that is used as it is.
        schedule: `"cosine"`: linear warm-up over the first tenth of the steps, then cosine to 0; `"constant"`;
            `"one_cycle"`, or a `policies.OneCycle`. A callback that sets the rate (`LearningRateScheduler`,
            `ReduceLROnPlateau`) needs, and gets, a constant one.
        steps: updates of the stage.
        multipliers: `{path: multiplier}` of the variables that move; None for 1 each.
        task: the task, whose `trainable` flags are set.
        optimizer: the user's optimizer, whose configuration is copied; None for Adam.
        callbacks: the user's callbacks.
        accumulation: the `Accumulation` of batches to an update; None for one each.

    Returns:
        `(optimizer, words)`: the optimizer, and how the rate runs, in words.
    """
    words = ""
    if not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        words = "constant"
        if schedule != "constant" and not any(isinstance(callback, _SETS_THE_RATE) for callback in callbacks):
            make = _warm_up_and_cosine if schedule == "cosine" else _one_cycle
            rate, words = make(rate, steps, schedule)
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer  # compile wraps it again where the dtype policy asks for it
    if optimizer is None:
        fresh = keras.optimizers.Adam(learning_rate=rate)
    else:
        fresh = copy_optimizer(optimizer, learning_rate=rate)
    if accumulation is not None:
        fresh = accumulating(fresh, accumulation)
        words = ", ".join(filter(None, (words, f"an update for {accumulation.every} batches")))
    if multipliers and set(multipliers.values()) != {1.0}:
        path_of = {id(variable): path for path, variable in variable_paths(task).items()}
        variables = task.trainable_variables
        fresh = with_resolved(fresh, [multipliers[path_of[id(v)]] for v in variables], variables)
    return fresh, words


def _one_cycle(rate, steps, schedule):
    if steps < 2:
        return rate, "constant"
    cycle = OneCycle() if schedule == "one_cycle" else schedule
    return (
        OneCycleSchedule(rate, steps, cycle.warm_up, cycle.div, cycle.final_div),
        f"one cycle over {steps} steps, the peak after {round(cycle.warm_up * steps)}",
    )


@register
class OneCycleSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """`policies.OneCycle` with its numbers: up and down again by half cosines.

    Args:
        peak: the highest rate.
        steps: number of steps.
        warm_up: share of the steps in which the rate rises.
        div, final_div: it begins at `peak / div` and ends at `peak / final_div`.

    Example:

    >>> schedule = OneCycleSchedule(1.0, 101, warm_up=0.3, div=5.0)
    >>> [round(float(schedule(step)), 3) for step in (0, 15, 30, 65, 100)]
    [0.2, 0.6, 1.0, 0.5, 0.0]
    """

    def __init__(self, peak, steps, warm_up=0.25, div=25.0, final_div=1e5):
        self.peak, self.steps, self.warm_up, self.div, self.final_div = peak, steps, warm_up, div, final_div

    def __call__(self, step):
        share = ops.minimum(ops.cast(step, "float32") / max(self.steps - 1, 1), 1.0)
        up = share / max(self.warm_up, 1e-9)
        down = (share - self.warm_up) / (1 - self.warm_up)
        first = cosine(self.peak / self.div, self.peak, ops.clip(up, 0.0, 1.0))
        return ops.where(
            share < self.warm_up,
            first,
            cosine(self.peak, self.peak / self.final_div, ops.clip(down, 0.0, 1.0)),
        )

    def get_config(self):
        names = ("peak", "steps", "warm_up", "div", "final_div")
        return {name: getattr(self, name) for name in names}


def _warm_up_and_cosine(rate, steps, _=None):
    warm_up = steps // 10
    if steps < 2:
        return rate, "constant"
    start = {} if not warm_up else {"warmup_target": rate, "warmup_steps": warm_up}
    return keras.optimizers.schedules.CosineDecay(
        rate / (warm_up + 1) if warm_up else rate,  # so that the first step, too, moves
        decay_steps=steps - warm_up,
        **start,
    ), f"warm-up over {warm_up} of {steps} steps, then cosine" if warm_up else f"cosine over {steps} steps"
