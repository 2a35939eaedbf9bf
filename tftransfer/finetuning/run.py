"""What one finetune() call carries from stage to stage, and how it runs one."""

import dataclasses
import json
import re

import keras

from tftransfer import data as data_module
from tftransfer import placement
from tftransfer.data.dataset_batches import is_dataset
from tftransfer.finetuning import features
from tftransfer.finetuning.callbacks import BestEpoch, StopOnNaN
from tftransfer.finetuning.checks import count_steps, is_one_hot
from tftransfer.finetuning.compilation import compile_stage, scope_of
from tftransfer.finetuning.epochs import hears_steps
from tftransfer.finetuning.freezing import Flags, apply_stage, context_of, trainable_state
from tftransfer.finetuning.gradients import gradient_norms
from tftransfer.finetuning.rates import make_optimizer, stage_rate
from tftransfer.finetuning.state import RunState
from tftransfer.finetuning.streams import Features

__all__ = ["Run"]

_VALIDATION_BATCH = 128  # no gradients are kept, so that a larger batch than in training fits


class Run:
    """One `finetune` call; its arguments are those of `finetune`, checked."""

    def __init__(
        self,
        task,
        data,
        validation,
        policy,
        batch_size,
        callbacks,
        verbose,
        optimizer,
        monitor,
        seed,
        resume,
        caching,
    ):
        self.task, self.data, self.validation, self.policy = task, data, validation, policy
        self.batch_size, self.callbacks, self.verbose = batch_size, list(callbacks), verbose
        self.optimizer, self.seed = optimizer, seed
        self.say = print if verbose else (lambda *_: None)
        self.shape = task.backbone.input_shape[1:]
        self.scale = not data_module.rescales_pixels(task)
        self.steps = count_steps(data, batch_size=batch_size, input_shape=self.shape)
        self.one_hot = is_one_hot(data)
        self.flags = Flags(task)
        self.history = keras.callbacks.History()
        self.history.epoch, self.history.history, self.history.stages = [], {}, []
        self.caching = caching  # of what the frozen part made of data and validation data
        self.state = None
        if resume is not False:
            self.state = RunState(resume, task, self._settings(), self.say)
        self.best = None if validation is None else self._best_epoch(monitor)

    def _settings(self):
        optimizer = None if self.optimizer is None else {**self.optimizer.get_config(), "name": None}
        return {
            "policy": repr(self.policy),
            "multipliers": [str(stage.multipliers) for stage in self.policy],
            "batch_size": self.batch_size,
            "steps_per_epoch": self.steps,
            "seed": self.seed,
            "validation": self.validation is not None,
            "optimizer": json.dumps(optimizer, sort_keys=True, default=str),
            "cache": self.caching.settings(),
        }

    def _best_epoch(self, monitor):
        if monitor == "auto":
            metrics = self.task.default_metrics(one_hot=self.one_hot)
            monitor = f"val_{metrics[0].name}" if metrics else "val_loss"
        lower = any(word in monitor for word in ("loss", "error", "mse", "mae", "rmse"))
        return BestEpoch(monitor, "min" if lower else "max", self.state and self.state.save_best)

    def stage(self, number):
        """Runs one stage and appends its epochs to the history."""
        stage, undo = self.policy.stages[number], None
        if stage.prepare is not None:
            if self.state is not None:
                self.state.before_prepare(number)
            with scope_of(self.task):
                undo = stage.prepare(context_of(self.task))
        try:
            if self.state is None or not self.state.is_over(number):
                self._stage(number, stage)
        finally:
            if undo is not None:
                undo()

    def _stage(self, number, stage):
        found = self.state.found if self.state is not None and self.state.begins_at(number) else None
        if found is not None:  # rules that look at weights or gradients have been applied already
            stage = dataclasses.replace(
                stage, multipliers=_rules(found["multipliers"], context_of(self.task))
            )
        applied = apply_stage(stage, self.task, self._gradient_norms)
        rate, origin = stage_rate(stage, self.task, self.optimizer)
        with scope_of(self.task):
            optimizer, words = make_optimizer(
                rate,
                schedule=stage.schedule,
                steps=stage.epochs * self.steps,
                multipliers=applied.multipliers,
                task=self.task,
                optimizer=self.optimizer,
                callbacks=self.callbacks,
            )
        examples = (self.steps + 1) * self.batch_size * (1 if self.validation is None else 2)  # about
        before, behind, why_not = features.frozen_half(self.task, self.data, examples, self.caching)
        refused = f", not computed once what is frozen ({why_not})" if why_not and not before else ""
        once = f", on {'the features of what is frozen' if behind else 'embeddings'} computed once"
        shown = f"{rate:g}" if isinstance(rate, float) else type(rate).__name__
        notes = ", ".join(note for note in (origin, words) if note)
        self.say(
            f"Stage {number + 1} of {len(self.policy)}, {stage.name}: {applied}"
            f"{once if before else ''}{refused}; learning rate {shown}{applied.spread} ({notes})."
        )
        options = {
            "jit_compile": placement.jit_compile(self.task, steps=stage.epochs * self.steps),
            "reuse": stage.prepare is None,
        }
        self._compile(self.task, optimizer, **options)
        first, start, checkpoint = self._place(number, found, applied)
        if found is None or not found.get("done"):
            watching = [*self.callbacks, StopOnNaN(stage.name, shown)]
            if not before:
                self.caching.forget()
                model, data, shape = self.task, (self.data, self.validation), self.shape
            else:
                epochs = not behind and not any(map(hears_steps, self.callbacks))
                size = self.batch_size if epochs else None
                embedder, model = features.helpers(self.task, size, before, behind)
                if epochs and keras.backend.backend() == "tensorflow":
                    options["jit_compile"] = False  # batches of no fixed size
                self._compile(model, self.task.optimizer, also=id(self.task.optimizer), **options)
                data, shape = self._embeddings(embedder), None
            if self.best is not None:
                self.best.begin_stage(model.weights)
                watching.append(self.best)
            if checkpoint is not None:
                checkpoint.whole_epochs = bool(before) and epochs
                watching.append(checkpoint)
            self._fit(model, data, shape, start, first + stage.epochs, watching)
            if checkpoint is not None:
                checkpoint.save(done=True)
        self.history.stages.append(
            {
                "name": stage.name,
                "epochs": len(self.history.epoch) - first,
                "learning_rate": rate if isinstance(rate, float) else shown,
                **vars(applied),
            }
        )

    def _place(self, number, found, applied):
        """Where the stage begins or goes on: its first epoch, the steps of the run that are done, its checkpoint."""
        first = len(self.history.epoch)
        if self.state is None:
            return first, first * self.steps, None
        place = {"stage": number, "steps_per_epoch": self.steps, "multipliers": applied.multipliers}
        if found is None:
            checkpoint = self.state.checkpoint(**place, first_epoch=first, stages=self.history.stages)
            checkpoint.step = first * self.steps
            checkpoint.past = {name: list(values) for name, values in self.history.history.items()}
            if self.best is not None and self.best.epoch is not None:
                self.state.save_best(self.best)  # with what the stage has added to the task
            checkpoint.save()
            return first, checkpoint.step, checkpoint
        checkpoint = self.state.checkpoint(**place, first_epoch=found["first_epoch"], stages=found["stages"])
        checkpoint.restore()
        self.history.history = {name: list(values) for name, values in checkpoint.past.items()}
        self.history.epoch = list(range(checkpoint.step // self.steps))
        self.history.stages = list(found["stages"])
        if self.best is not None:
            self.state.load_best(self.best)
        return found["first_epoch"], checkpoint.step, checkpoint

    def _fit(self, model, data, shape, start, last, watching):
        """Fits from a step of the run to the end of an epoch of it, and appends to the history."""
        training, validation = data
        whole = getattr(model, "batch_size", None) is not None  # an epoch per step
        for step, until, steps in _runs(start, self.steps, last):
            heard = watching
            if model is self.task:
                batches = self._training_batches(training, shape, start=step)
            else:
                batches, steps = training.training(
                    batch_size=self.batch_size,
                    seed=self.seed,
                    step=step,
                    epoch_steps=self.steps,
                    steps=steps,
                    whole=whole,
                )
                heard = features.callbacks_of(self.task, model, watching, self.verbose, until, steps)
            fitted = model.fit(
                batches,
                validation_data=None if validation is None else self._validation_batches(validation, shape),
                steps_per_epoch=steps,
                initial_epoch=step // self.steps,
                epochs=until,
                callbacks=heard,
                shuffle=False,  # the batches are shuffled already
                verbose=self.verbose,
            )
            for name, values in fitted.history.items():
                self.history.history.setdefault(name, []).extend(values)
            self.history.epoch.extend(fitted.epoch)
            if model.stop_training:  # a callback asked for it
                break

    def _training_batches(self, data, shape, start=0):
        """Batches without end: one pipeline for all epochs of a stage, its order fixed by the seed."""
        start = 0 if is_dataset(data) else start
        options = {"shuffle": True, "repeat": True, "start": start, "seed": self.seed, "input_shape": shape}
        return data_module.batches(data, batch_size=self.batch_size, scale=self.scale, **options)

    def _validation_batches(self, data, shape):
        size = max(self.batch_size, _VALIDATION_BATCH)
        if isinstance(data, Features):
            return data.in_order(batch_size=size)
        return data_module.batches(data, batch_size=size, scale=self.scale, input_shape=shape)

    def _embeddings(self, embedder):
        """Training and validation data as embeddings, kept for the next stage, which may have the same."""
        options = {"batch_size": self.batch_size, "scale": self.scale, "verbose": self.verbose}
        return self.caching.features(self.task, embedder, self.data, self.validation, **options)

    def _compile(self, model, optimizer, **options):
        with scope_of(model):
            loss = self.task.default_loss(one_hot=self.one_hot)
            metrics = self.task.default_metrics(one_hot=self.one_hot)
        compile_stage(model, optimizer=optimizer, loss=loss, metrics=metrics, **options)

    def _gradient_norms(self):
        with scope_of(self.task):
            loss = self.task.default_loss(one_hot=self.one_hot)
        return gradient_norms(self.task, self._training_batches(self.data, self.shape), self.steps, loss=loss)

    def finish(self):
        """Puts flags and the best epoch's weights back, and returns the history."""
        moved = trainable_state(self.task)
        self.flags.restore()
        if (
            trainable_state(self.task) != moved
        ):  # compiled for other flags: an optimizer without state, to be saved
            with scope_of(self.task):
                sgd = keras.optimizers.SGD()
            self._compile(self.task, sgd)
        self.history.best_epoch = None
        if self.best is not None:
            self.best.restore()
            self.history.best_epoch = self.best.epoch
            self.say(
                f"Kept the weights of epoch {self.best.epoch + 1} of {len(self.history.epoch)}, the best by "
                f"{self.best.monitor} ({self.best.value:.4f})."
            )
        if self.state is not None:
            self.state.delete()
        self.history.set_model(self.task)
        self.task.history = self.history
        return self.history


def _runs(start, steps, last):
    """The calls of `fit` left after `start` steps, each `(first step, last epoch, steps an epoch)`."""
    whole = -(-start // steps) * steps
    if start % steps:  # first the rest of the epoch that was cut
        yield start, start // steps + 1, whole - start
    if whole < last * steps:
        yield whole, last, steps


def _rules(multipliers, context):
    """Rules that give each path the multiplier it had, and freeze the rest."""
    rules = {}
    for value in sorted(set(multipliers.values())):
        paths = "|".join(re.escape(path) for path, its in multipliers.items() if its == value)
        rules[f"^(?:{paths})$"] = value
    return rules if len(multipliers) == len(context.paths) else {**rules, ".*": 0.0}
