"""finetune(): runs the stages of a policy, each freshly compiled, as one continuous history."""

import keras

from tftransfer import data as data_module
from tftransfer import placement
from tftransfer.data.dataset_batches import is_dataset
from tftransfer.finetuning import features
from tftransfer.finetuning.callbacks import BestEpoch, StopOnNaN
from tftransfer.finetuning.checks import check_data, check_policy, check_task, count_steps, is_one_hot
from tftransfer.finetuning.compilation import compile_stage, scope_of
from tftransfer.finetuning.freezing import Flags, apply_stage, context_of
from tftransfer.finetuning.gradients import gradient_norms
from tftransfer.finetuning.rates import make_optimizer, stage_rate

__all__ = ["finetune"]

_VALIDATION_BATCH = 128  # no gradients are kept, so that a larger batch than in training fits


def finetune(
    task,
    data,
    *,
    validation_data=None,
    policy=None,
    batch_size=32,
    callbacks=(),
    verbose="auto",
    optimizer=None,
    monitor="auto",
    seed=0,
):
    """Fine-tunes a task on labelled data, stage by stage.

    For each stage of the policy: sets which variables move, compiles afresh with the task's default loss and
    metrics, prints one line that says what is trained, how fast and what BatchNormalization does, and fits.
    With `validation_data` the weights of the best epoch over *all* stages are put back at the end. While the
    whole backbone is frozen its embeddings are computed once and the head is trained on these: same result,
    sooner.

    What it does can be done by hand: set `trainable`, `compile`, `fit`. Which variables move, the policy
    alone decides, whatever `trainable` flags were set before; afterwards these are put back as they were. The
    task is left compiled, to be evaluated, used and saved. To go on training it by hand, compile it with the
    optimizer of your choice.

    Args:
        task: a `tasks.Task`.
        data: labelled examples: `(x, y)`, what `tt.data.load` returned, or a `tf.data.Dataset`.
        validation_data: the same, to choose the best epoch by; never used for training.
        policy: a `policies.Policy`; default `linear_probe() + full()`.
        batch_size: examples per step, over all replicas; at most the number of examples is used.
        callbacks: `keras.callbacks.Callback`s, for every stage. One that sets the learning rate
            (`LearningRateScheduler`, `ReduceLROnPlateau`) gets a constant rate instead of the cosine.
        verbose: 0 silent, 1 progress bars, 2 a line per epoch; `"auto"` is 1.
        optimizer: a `keras.optimizers.Optimizer` whose configuration each stage copies; default Adam. Its
            learning rate serves the stages that give none.
        monitor: the figure that chooses the best epoch; `"auto"` is the task's first metric on the validation
            data.
        seed: of the order of the examples.

    Returns:
        A `keras.callbacks.History` with the epochs of all stages numbered on, and the attributes `stages` (a
        dict per stage) and `best_epoch` (its number in `epoch`; None without validation data).

    Raises:
        ValueError: before any step, for data that do not fit the task, a pattern that is found in no variable
            path, or a stage that would train nothing.
        FloatingPointError: when the loss is no longer a finite number.

    Example:

    >>> import numpy as np, tftransfer as tt
    >>> x, y = np.random.default_rng(0).normal(size=(20, 8)).astype("float32"), np.arange(20) % 2
    >>> task = tt.tasks.Classifier(tt.backbones.mlp((8,), units=(4,)), num_classes=2)
    >>> history = finetune(task, (x, y), policy=tt.policies.linear_probe(epochs=2), verbose=0)
    >>> history.epoch
    [0, 1]
    """
    check_task(task)
    policy = check_policy(policy, task)
    check_data(task, data)
    if validation_data is not None:
        check_data(task, validation_data, training=False)
    run = _Run(task, data, validation_data, batch_size, list(callbacks), verbose, optimizer, monitor, seed)
    for number, stage in enumerate(policy):
        run.run_stage(stage, f"Stage {number + 1} of {len(policy)}, {stage.name}")
    return run.finish()


class _Run:
    """What one `finetune` call carries from stage to stage."""

    def __init__(self, task, data, validation, batch_size, callbacks, verbose, optimizer, monitor, seed):
        self.task, self.data, self.validation = task, data, validation
        self.batch_size, self.callbacks, self.verbose = batch_size, callbacks, verbose
        self.optimizer, self.seed = optimizer, seed
        self.one_hot = is_one_hot(data)
        self.flags = Flags(task)
        self.best = None if validation is None else self._best_epoch(monitor)
        self.history = keras.callbacks.History()
        self.history.epoch, self.history.history, self.history.stages = [], {}, []

    def _best_epoch(self, monitor):
        if monitor == "auto":
            metrics = self.task.default_metrics(one_hot=self.one_hot)
            monitor = f"val_{metrics[0].name}" if metrics else "val_loss"
        lower = any(word in monitor for word in ("loss", "error", "mse", "mae", "rmse"))
        return BestEpoch(monitor, "min" if lower else "max")

    def _training_batches(self, data, shape, start=0):
        """Batches without end: one pipeline for all epochs of a stage, its order fixed by the seed."""
        start = 0 if is_dataset(data) else start
        options = {"shuffle": True, "repeat": True, "start": start, "seed": self.seed, "input_shape": shape}
        return data_module.batches(data, batch_size=self.batch_size, **options)

    def _compile(self, model, optimizer, **options):
        with scope_of(model):
            loss = self.task.default_loss(one_hot=self.one_hot)
            metrics = self.task.default_metrics(one_hot=self.one_hot)
        compile_stage(model, optimizer=optimizer, loss=loss, metrics=metrics, **options)

    def _gradient_norms(self):
        shape = self.task.backbone.input_shape[1:]
        steps = count_steps(self.data, batch_size=self.batch_size, input_shape=shape)
        loss = self.task.default_loss(one_hot=self.one_hot)
        return gradient_norms(self.task, self._training_batches(self.data, shape), steps, loss=loss)

    def _validation_batches(self, data, shape):
        return data_module.batches(
            data, batch_size=max(self.batch_size, _VALIDATION_BATCH), input_shape=shape
        )

    def run_stage(self, stage, title):
        """Runs one stage and appends its epochs to the history."""
        with scope_of(self.task):
            undo = stage.prepare(context_of(self.task)) if stage.prepare is not None else None
        try:
            applied = apply_stage(stage, self.task, self._gradient_norms)
            why_not = features.why_not(self.task, self.data)
            shape = self.task.backbone.input_shape[1:]
            steps_per_epoch = count_steps(self.data, batch_size=self.batch_size, input_shape=shape)
            rate, origin = stage_rate(stage, self.task, self.optimizer)
            with scope_of(self.task):
                optimizer, words = make_optimizer(
                    rate,
                    schedule=stage.schedule,
                    steps=stage.epochs * steps_per_epoch,
                    multipliers=applied.multipliers,
                    task=self.task,
                    optimizer=self.optimizer,
                    callbacks=self.callbacks,
                )
            if self.verbose:
                shown = f"{rate:g}" if isinstance(rate, float) else type(rate).__name__
                notes = ", ".join(note for note in (origin, words) if note)
                how = "" if why_not else ", on embeddings computed once"
                print(f"{title}: {applied}{how}; learning rate {shown}{applied.spread} ({notes}).")
            done = self._fit(stage, rate, optimizer, steps_per_epoch, why_not is None)
        finally:
            if undo is not None:
                undo()
        self.history.stages.append(
            {"name": stage.name, "epochs": done, "learning_rate": rate, **vars(applied)}
        )

    def _fit(self, stage, rate, optimizer, steps_per_epoch, on_embeddings):
        options = {
            "jit_compile": placement.jit_compile(self.task, steps=stage.epochs * steps_per_epoch),
            "reuse": stage.prepare is None,
        }
        self._compile(self.task, optimizer, **options)
        model, data, validation = self.task, self.data, self.validation
        shape = self.task.backbone.input_shape[1:]
        if on_embeddings:
            embedder, model = features.helpers(self.task)
            self._compile(model, self.task.optimizer, **options)
            data, validation = (
                part and features.embed(embedder, part, self.batch_size, self.verbose)
                for part in (data, validation)
            )
            shape = self.task.pool.compute_output_shape(self.task.backbone.output_shape)[1:]
        first = len(self.history.epoch)
        last = first + stage.epochs
        watching = [*self.callbacks, StopOnNaN(stage.name, rate)]
        if self.best is not None:
            self.best.begin_stage(model.weights)
            watching.append(self.best)
        if model is not self.task:
            watching = features.callbacks_of(self.task, model, watching, self.verbose, last, steps_per_epoch)
        fitted = model.fit(
            self._training_batches(data, shape, start=first * steps_per_epoch),
            validation_data=None if validation is None else self._validation_batches(validation, shape),
            steps_per_epoch=steps_per_epoch,
            initial_epoch=first,
            epochs=last,
            callbacks=watching,
            shuffle=False,  # the batches are shuffled already
            verbose=self.verbose,
        )
        for name, values in fitted.history.items():
            self.history.history.setdefault(name, []).extend(values)
        self.history.epoch.extend(fitted.epoch)
        return len(fitted.epoch)

    def finish(self):
        """Puts the best epoch's weights back and returns the history."""
        moved = [id(variable) for variable in self.task.trainable_variables]
        modes = [layer.trainable for layer in self.task._flatten_layers()]
        self.flags.restore()
        if moved != [id(v) for v in self.task.trainable_variables] or modes != [
            layer.trainable for layer in self.task._flatten_layers()
        ]:
            with scope_of(self.task):
                sgd = keras.optimizers.SGD()
            self._compile(self.task, sgd)
        self.history.best_epoch = None
        if self.best is not None:
            self.best.restore()
            self.history.best_epoch = self.best.epoch
            if self.verbose:
                print(
                    f"Kept the weights of epoch {self.best.epoch + 1} of {len(self.history.epoch)}, the best "
                    f"by {self.best.monitor} ({self.best.value:.4f})."
                )
        self.history.set_model(self.task)
        self.task.history = self.history
        return self.history
