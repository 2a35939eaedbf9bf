"""What one finetune() call carries from stage to stage, and how it runs one."""

import dataclasses
import time

import keras

from tftransfer import placement
from tftransfer.checkpoints import calls_left
from tftransfer.finetuning import features
from tftransfer.finetuning.averaging import averages_in
from tftransfer.finetuning.callbacks import Pace, best_epoch, stop_on_bad_loss
from tftransfer.finetuning.compilation import compile_stage, kept_beside, scope_of
from tftransfer.finetuning.epochs import hears_steps
from tftransfer.finetuning.freezing import Flags, apply_stage, context_of, trainable_state
from tftransfer.finetuning.gradients import gradient_norms
from tftransfer.finetuning.rates import make_optimizer, stage_rate
from tftransfer.finetuning.resuming import rules_of, settings_of
from tftransfer.finetuning.ridge import fit_head
from tftransfer.finetuning.state import RunState, StageCheckpoint
from tftransfer.finetuning.streams import Features
from tftransfer.finetuning.summary import stage_summary
from tftransfer.finetuning.targets import VALIDATION_BATCH
from tftransfer.placement.launch import reports
from tftransfer.preemption import Preemption

__all__ = ["Run"]


class Run:
    """One `finetune` call; its arguments are those of `finetune`, checked."""

    def __init__(
        self,
        task,
        targets,
        policy,
        steps,
        *,
        callbacks,
        verbose,
        optimizer,
        accumulation,
        monitor,
        resume,
        save_every,
        caching,
    ):
        self.task, self.targets, self.policy, self.steps = task, targets, policy, steps
        self.verbose, self.optimizer, self.accumulation = verbose, optimizer, accumulation
        self.callbacks, self.averages = averages_in(callbacks, optimizer, targets.data)
        self.say = print if verbose else (lambda *_: None)
        self.shape = task.backbone.input_shape[1:]
        self.flags = Flags(task)
        self.history = keras.callbacks.History()
        self.history.epoch, self.history.history, self.history.stages = [], {}, []
        self.caching = caching  # of what the frozen part made of data and validation data
        self.state, workers = None, targets.workers
        self.preemption = Preemption(workers, enabled=resume is not False)
        if resume is not False:
            saving = {"workers": workers, "save_every": save_every, "preemption": self.preemption}
            self.state = RunState(resume, task, self._settings(), self.say, **saving)
        self.best = None
        if targets.validation is not None:
            self.best = best_epoch(monitor, targets.metrics(), self.state and self.state.save_best)

    def _settings(self):
        return settings_of(
            self.policy,
            self.optimizer,
            batch_size=self.targets.batch_size,
            steps_per_epoch=self.steps,
            seed=self.targets.seed,
            validation=self.targets.validation is not None,
            cache=self.caching.settings(),
            accumulate=self.accumulation and self.accumulation.every,
            **self.targets.settings(),
        )

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
            rules = rules_of(found["multipliers"], context_of(self.task))
            stage = dataclasses.replace(stage, multipliers=rules)
        applied = apply_stage(stage, self.task, self._gradient_norms)
        rate, origin = stage_rate(stage, self.task, self.optimizer)
        with scope_of(self.task):
            optimizer, words = make_optimizer(
                rate,
                schedule=stage.schedule,
                steps=stage.epochs * (self.accumulation.updates if self.accumulation else self.steps),
                multipliers=applied.multipliers,
                task=self.task,
                optimizer=self.optimizer,
                callbacks=self.callbacks,
                accumulation=self.accumulation,
            )
        before, behind, why_not = self._frozen_half()
        paces = kept_beside(self.task).models  # of stages that did the same
        pace = ("pace", len(before), self.targets.batch_size, trainable_state(self.task))
        known = paces.get(pace)
        self.say(
            stage_summary(
                f"Stage {number + 1} of {len(self.policy)}",
                stage.name,
                applied,
                once=("the features of what is frozen" if behind else "embeddings") if before else None,
                why_not=why_not,
                rate=rate,
                notes=(origin, words),
                groups=context_of(self.task).groups,
                seconds=known and known * stage.epochs,
            )
        )
        options = {
            "jit_compile": placement.jit_compile(self.task, steps=stage.epochs * self.steps),
            "reuse": stage.prepare is None,
        }
        self._compile(self.task, optimizer, **options)
        over = bool(found and found.get("done"))
        if not over:
            model, data = self._model(before, behind, options)
            if self.best is not None:
                self.best.begin_stage(model.weights)
            if found is None and stage.init == "ridge":
                fit = fit_head(self.task, data[0] if before and not behind else self.targets.data)
                self.say(f"  The head begins with the ridge solution ({fit.score:.3g} leaving one out).")
        first, start, checkpoint = self._place(number, found, applied)
        begun = time.monotonic()
        if not over:
            watching = [*self.callbacks, stop_on_bad_loss(stage.name, rate)]
            watching += [] if self.best is None else [self.best]
            watching += reports(workers=self.targets.workers) if checkpoint is None else []
            watching += [] if checkpoint is None else [*self.state.reports, checkpoint]
            seconds = self._fit(model, data, start, range(first, first + stage.epochs), watching)
            if seconds is not None:
                paces[pace] = seconds
            if checkpoint is not None:
                checkpoint.save(done=True)
        self.history.stages.append(
            {
                "name": stage.name,
                "epochs": len(self.history.epoch) - first,
                "learning_rate": rate if isinstance(rate, float) else type(rate).__name__,
                "seconds": time.monotonic() - begun,
                **vars(applied),
            }
        )

    def _frozen_half(self):
        """What `features.frozen_half` says, unless something in this run speaks against it."""
        targets, nothing = self.targets, ([], [self.task.backbone])
        examples = (self.steps + 1) * targets.batch_size * (1 if targets.validation is None else 2)  # about
        frozen = features.frozen_half(self.task, targets.data, examples, self.caching)
        if targets.mixing is not None and (frozen.before or frozen.reason):
            return *nothing, "examples are mixed with one another"
        if frozen.before and frozen.behind:
            _, model = features.helpers(self.task, None, frozen.before, frozen.behind)
            ours, theirs = (list(map(id, each.trainable_variables)) for each in (self.task, model))
            if ours != theirs:  # Keras hands an optimizer its variables by their order
                return *nothing, "its layers come in another order"
        return frozen

    def _model(self, before, behind, options):
        """The model that is trained, compiled, and `(training, validation)` data for it."""
        targets = self.targets
        if not before:
            self.caching.forget()
            return self.task, (targets.data, targets.validation)
        whole = not behind and not any(map(hears_steps, self.callbacks))
        size = targets.batch_size if whole else None
        embedder, model = features.helpers(self.task, size, before, behind)
        if whole and keras.backend.backend() == "tensorflow":
            options["jit_compile"] = False  # batches of no fixed size
        self._compile(model, self.task.optimizer, also=id(self.task.optimizer), **options)
        options = {"batch_size": targets.batch_size, "scale": targets.scale, "verbose": self.verbose}
        return model, self.caching.features(self.task, embedder, targets.data, targets.validation, **options)

    def _place(self, number, found, applied):
        """Where the stage begins or goes on: its first epoch, the steps of the run that are done, its checkpoint."""
        if self.state is None:
            first = len(self.history.epoch)
            return first, first * self.steps, None
        place = {"stage": number, "steps_per_epoch": self.steps, "multipliers": applied.multipliers}
        return self.state.place(place, found, self.history, self.best)

    def _fit(self, model, data, start, epochs, watching):
        """Fits from a step of the run to the end of these epochs of it, and appends to the history.

        Returns:
            Seconds an epoch, or None where they were not measured.
        """
        (training, validation), targets, seconds = data, self.targets, None
        whole = getattr(model, "batch_size", None) is not None  # an epoch per step
        if isinstance(watching[-1], StageCheckpoint):
            watching[-1].whole_epochs = whole
            watching[-1].own = lambda: [pair for average in self.averages for pair in average.own]
        calls = list(calls_left(start, self.steps, epochs.stop))
        for average in [] if calls else self.averages:  # the run was cut after the last epoch
            average.put_in(self.task)
        for step, until, steps in calls:
            if model is self.task:
                begun = epochs.start * self.steps
                batches = targets.training(training, self.shape, start=step, begun=begun)
            else:
                batches, steps = training.training(
                    batch_size=targets.batch_size,
                    seed=targets.seed,
                    step=step,
                    epoch_steps=self.steps,
                    steps=steps,
                    whole=whole,
                )
            pace = Pace(self.say, until - step // self.steps, steps)
            heard = [*watching, pace]
            if model is not self.task:
                heard = features.callbacks_of(self.task, model, heard, self.verbose, until, steps)
            with self.preemption, targets.workers.together():
                fitted = model.fit(
                    batches,
                    validation_data=self._validation(validation),
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
            if pace.seconds_per_step is not None and not step % self.steps:
                seconds = pace.seconds_per_step * steps
            if model.stop_training:  # a callback asked for it
                break
            if until < epochs.stop:
                for average in self.averages:
                    average.take_out()
        return seconds

    def _validation(self, data):
        if isinstance(data, Features):
            return data.in_order(batch_size=max(self.targets.batch_size, VALIDATION_BATCH))
        return None if data is None else self.targets.validating(data, self.shape)

    def _compile(self, model, optimizer, **options):
        with scope_of(model):
            loss, metrics = self.targets.loss(), self.targets.metrics()
        compile_stage(model, optimizer=optimizer, loss=loss, metrics=metrics, **options)

    def _gradient_norms(self):
        with scope_of(self.task):
            loss = self.targets.loss()
        batches = self.targets.training(self.targets.data, self.shape)
        return gradient_norms(self.task, batches, self.steps, loss=loss)

    def finish(self):
        """Puts flags and the best epoch's weights back, and returns the history."""
        moved = trainable_state(self.task)
        self.flags.restore()
        # Compiled for other flags, or for this run's steps: an optimizer without state, to be saved.
        if trainable_state(self.task) != moved or self.accumulation is not None:
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
