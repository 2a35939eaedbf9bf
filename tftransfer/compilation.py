"""How `pretrain` compiles an objective that is not compiled yet."""

import keras
import numpy as np

from tftransfer import placement
from tftransfer.lean_adamw import LeanAdamW
from tftransfer.weight_decay import ScheduledDecay

__all__ = ["default_compile"]


def default_compile(objective, *, steps, learning_rate=None, say=print):
    """Compiles an objective the way `pretrain` does when it is not compiled yet.

    AdamW with warm-up over a tenth of the steps and cosine decay to zero; no weight decay on biases and norms. Rate,
    momentum and weight decay are the objective's; a decay that is a pair goes from one to the other (`ScheduledDecay`).

    Args:
        objective: the objective.
        steps: optimizer steps of the whole run, for the schedule.
        learning_rate: peak rate; by default the objective's `default_learning_rate`.
        say: function that is told what was chosen.
    """
    rate = learning_rate or objective.default_learning_rate
    warmup = steps // 10
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else rate,
        max(steps - warmup, 1),
        warmup_target=rate if warmup else None,
        warmup_steps=warmup,
    )
    jit = placement.jit_compile(objective, steps=steps)
    decay = objective.default_weight_decay
    with objective.scope():
        optimizer = _adamw(schedule, decay, steps, beta_1=objective.default_momentum)
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "table", "token"])
        objective.compile(optimizer, jit_compile=bool(jit))
    decays = " to ".join(f"{d:g}" for d in np.atleast_1d(decay))
    say(
        f"{type(objective).__name__} on {objective.backbone.name}: AdamW, learning rate {rate:g} (warm-up, cosine), "
        f"weight decay {decays}, {steps} steps; XLA {'on' if jit else 'off'}."
    )


def _adamw(schedule, decay, steps, **options):
    if isinstance(decay, tuple):
        options |= {"final_weight_decay": decay[1], "decay_steps": max(steps, 1)}
        return ScheduledDecay(schedule, decay[0], **options)
    return LeanAdamW(schedule, weight_decay=decay, **options)
