"""fastai's recipe: the head for an epoch, then everything at half the rate, early layers slower, one-cycle."""

import re

import keras

from tftransfer.policies.policy import ByDepth, OneCycle, Policy, Stage

__all__ = ["fastai"]


def fastai(epochs=10, *, learning_rate=2e-3, freeze_epochs=1, lr_mult=100, warm_up=0.3, div=5.0):
    """Trains as fastai's `Learner.fine_tune` does, with its defaults: the yardstick for other policies.

    First the head, and the BatchNormalization layers of the backbone at a tenth of its rate, for
    `freeze_epochs`; then everything at `learning_rate / 2`, the group at the input `lr_mult` times slower
    than the head and those between in even ratios. Each stage is one cycle (`OneCycle`). BatchNormalization
    is live throughout, so nothing is computed once.

    Reference: Howard and Gugger, "fastai: A Layered API for Deep Learning", 2020,
    https://arxiv.org/abs/2002.04688
    Differs from it in: groups read from the backbone's graph, where fastai makes three; the momentum does not
    cycle; fastai's head (two layers, dropout) and its optimizer are not part of the policy: for the latter
    give `finetune` `optimizer=keras.optimizers.AdamW(weight_decay=0.01, beta_2=0.99, epsilon=1e-5)`.

    Args:
        epochs: passes over the labelled data with everything trained.
        learning_rate: peak learning rate of the head in the first stage.
        freeze_epochs: passes before, with the backbone frozen.
        lr_mult: how many times slower the group at the input moves, from 1 up.
        warm_up: share of the second stage's steps in which the rate rises, in [0, 1).
        div: the second stage begins with its peak rate divided by this.

    Returns:
        A `Policy` of two stages.

    Raises:
        ValueError: for a number out of range.

    Example:

    >>> from tftransfer.policies import fastai
    >>> [(stage.name, stage.epochs, stage.learning_rate) for stage in fastai(5)]
    [('fastai_frozen', 1, 0.002), ('fastai', 5, 0.001)]
    """
    if isinstance(lr_mult, bool) or not isinstance(lr_mult, (int, float)) or not 1 <= lr_mult < float("inf"):
        raise ValueError(f"fastai: lr_mult is a number from 1 up; received {lr_mult!r}.")
    rate = learning_rate / 2 if isinstance(learning_rate, (int, float)) else learning_rate
    stages = [
        Stage("fastai_frozen", _head_and_batch_norm, freeze_epochs, learning_rate, OneCycle(warm_up=0.99)),
        Stage("fastai", ByDepth(1 / lr_mult, whole=True), epochs, rate, OneCycle(warm_up, div)),
    ]
    given = {"freeze_epochs": freeze_epochs, "lr_mult": lr_mult, "warm_up": warm_up, "div": div}
    usual = {"freeze_epochs": 1, "lr_mult": 100, "warm_up": 0.3, "div": 5.0}
    more = "".join(f", {name}={value!r}" for name, value in given.items() if value != usual[name])
    shown = "None" if rate is None else f"{learning_rate:g}"
    return Policy(stages, text=f"fastai(epochs={epochs}, learning_rate={shown}{more})")


def _head_and_batch_norm(context):
    layers = context.task.backbone._flatten_layers()
    kind = keras.layers.BatchNormalization
    norms = {id(v) for layer in layers if isinstance(layer, kind) for v in layer.weights}
    rates = {path: 0.1 * (id(variable) in norms) for path, variable in context.paths.items()}
    return {
        f"^{re.escape(path)}$": 1.0 if path in context.groups[-1] else rate for path, rate in rates.items()
    }
