"""Compiling a stage, or bringing back what an equal stage compiled: tracing dominates short runs."""

import contextlib
import json

import keras

from tftransfer.finetuning.freezing import trainable_state

__all__ = ["compile_stage", "kept_beside", "scope_of"]


class Kept:
    """What `finetune` keeps beside a model: opaque to Keras, so that it is neither tracked nor saved."""

    def __init__(self):
        self.compiled = {}  # key -> (attributes that compile and fit set, their trainable variables)
        self.key = None  # that of the present compilation
        self.models = {}  # name -> helper model that shares the task's variables


def kept_beside(model):
    """The `Kept` of a model."""
    return vars(model).setdefault("_finetuning", Kept())


def scope_of(model):
    """The scope of the strategy that a model was built under, where optimizers and new layers are made."""
    if hasattr(model, "scope"):
        return model.scope()
    strategy = getattr(model, "_distribute_strategy", None)  # a plain Keras model's, on TensorFlow
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def compile_stage(model, *, optimizer, loss, metrics, jit_compile=False, reuse=True, also=None):
    """Compiles a model for a stage and builds its optimizer, before the first step.

    Keras fixes the trainable variables when it traces the training step, so each stage compiles afresh. Where
    an equal stage (same configuration, trainable variables, optimizer, loss, metrics) has been compiled on
    this model before, its traced functions come back instead, with the optimizer's variables as new: a second
    `finetune` on the same task then costs its steps and nothing else.

    Args:
        model: a built model whose `trainable` flags are set.
        optimizer: a fresh, unbuilt optimizer.
        loss: Keras loss.
        metrics: list of fresh Keras metrics.
        jit_compile: whether to use XLA.
        also: what else must be equal for a stage to be equal.
        reuse: False when something that no key can see differs (a hook that changes the model).
    """
    kept = kept_beside(model)
    if kept.key in kept.compiled and kept.compiled[kept.key]["optimizer"] is model.optimizer:
        kept.compiled[kept.key]["predict_function"] = model.predict_function  # made since, by predict
    kept.key = _key(model, optimizer, loss, metrics, (jit_compile, also)) if reuse else None
    if kept.key in kept.compiled:
        vars(model).update(kept.compiled[kept.key])
        model.stop_training = False
        with scope_of(model):
            _reset(model.optimizer, optimizer, model.trainable_variables)
        return
    before = dict(vars(model))
    with scope_of(model):
        model.compile(optimizer=optimizer, loss=loss, metrics=metrics, jit_compile=jit_compile)
        model.optimizer.build(model.trainable_variables)
    model.make_train_function()
    model.make_test_function()
    if kept.key is not None:
        now = vars(model).items()
        kept.compiled[kept.key] = {n: value for n, value in now if n not in before or before[n] is not value}


def _reset(optimizer, fresh, variables):
    """Gives a built optimizer the state that a fresh one has when it is built for the same variables."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    fresh.build(variables)
    for variable, new in zip(inner.variables, fresh.variables, strict=True):
        variable.assign(new.value)


def _key(model, optimizer, loss, metrics, also):
    """A string that is equal for stages that trace to the same functions; None where that cannot be told."""
    try:
        parts = [
            model.get_config(),
            {**optimizer.get_config(), "name": None},  # Keras numbers the names
            [keras.saving.serialize_keras_object(part) for part in (loss, *metrics)],
        ]
        text = json.dumps(parts, sort_keys=True, default=keras.saving.serialize_keras_object)
    except (TypeError, ValueError, NotImplementedError, KeyError):
        return None
    return text, type(optimizer), also, trainable_state(model)
