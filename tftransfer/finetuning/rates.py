"""The learning rate of a stage, its warm-up and decay, and the optimizer that follows it."""

import keras

from tftransfer.finetuning.freezing import variable_paths
from tftransfer.optimizers import copy_optimizer, with_resolved

__all__ = ["make_optimizer", "stage_rate"]

DEFAULT_RATE = 1e-4
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
        return float(pretraining) / 10, "a tenth of pretraining's"
    return DEFAULT_RATE, "the default"


def make_optimizer(rate, *, schedule, steps, multipliers=None, task=None, optimizer=None, callbacks=()):
    """A fresh optimizer for one stage.

    Args:
        rate: the peak rate, or a `LearningRateSchedule` that is used as it is.
        schedule: `"cosine"`: linear warm-up over the first tenth of the steps, then cosine to 0;
            `"constant"`. A callback that sets the rate (`LearningRateScheduler`, `ReduceLROnPlateau`) needs,
            and gets, a constant one.
        steps: optimizer steps of the stage.
        multipliers: `{path: multiplier}` of the variables that move; None for 1 each.
        task: the task, whose `trainable` flags are set.
        optimizer: the user's optimizer, whose configuration is copied; None for Adam.
        callbacks: the user's callbacks.

    Returns:
        `(optimizer, words)`: the optimizer, and how the rate runs, in words.
    """
    words = ""
    if not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        words = "constant"
        if schedule == "cosine" and not any(isinstance(callback, _SETS_THE_RATE) for callback in callbacks):
            rate, words = _warm_up_and_cosine(rate, steps)
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer  # compile wraps it again where the dtype policy asks for it
    if optimizer is None:
        fresh = keras.optimizers.Adam(learning_rate=rate)
    else:
        fresh = copy_optimizer(optimizer, learning_rate=rate)
    if multipliers and set(multipliers.values()) != {1.0}:
        path_of = {id(variable): path for path, variable in variable_paths(task).items()}
        variables = task.trainable_variables
        fresh = with_resolved(fresh, [multipliers[path_of[id(v)]] for v in variables], variables)
    return fresh, words


def _warm_up_and_cosine(rate, steps):
    warm_up = steps // 10
    if steps < 2:
        return rate, "constant"
    start = {} if not warm_up else {"warmup_target": rate, "warmup_steps": warm_up}
    return keras.optimizers.schedules.CosineDecay(
        rate / (warm_up + 1) if warm_up else rate,  # so that the first step, too, moves
        decay_steps=steps - warm_up,
        **start,
    ), f"warm-up over {warm_up} of {steps} steps, then cosine" if warm_up else f"cosine over {steps} steps"
