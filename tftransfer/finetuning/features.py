"""A frozen backbone runs once per example: the head trains on embeddings computed beforehand."""

import math

import keras
import numpy as np

from tftransfer import data as data_module
from tftransfer import placement
from tftransfer.data.batches import to_columns
from tftransfer.data.dataset_batches import is_dataset
from tftransfer.data.progress import Progress
from tftransfer.finetuning.compilation import kept_beside
from tftransfer.finetuning.epochs import OnEmbeddings
from tftransfer.finetuning.prefix import split, why_it_moves
from tftransfer.tasks.task import Task

__all__ = ["Embedder", "callbacks_of", "embed", "frozen_half", "helpers", "why_not"]

MEMORY = 2**31  # bytes that features of a half may take; the rest of the machine is not ours


class Embedder(placement.PlacedModel):
    """What stands still of a task, as a model of its own that shares the task's layers."""

    def __init__(self, parts, pool=None):
        super().__init__(name="embedder")
        self.parts, self.pool = list(parts), pool
        self.built = True

    def call(self, inputs):
        for part in self.parts:
            inputs = part(inputs, training=False)
        return inputs if self.pool is None else self.pool(inputs)


def helpers(task, batch_size=None, before=None, behind=()):
    """The `Embedder` and the `OnEmbeddings` of a task, made once.

    Args:
        task: the task.
        batch_size: see `OnEmbeddings`.
        before, behind: the halves of the backbone (`prefix.split`); by default all of it stands still.
    """
    models = kept_beside(task).models
    before = before or [task.backbone]
    place = tuple(id(v) for part in behind for v in part.weights)
    with task.scope():
        if models.get(("of", place)) is not task.backbone:
            models["of", place], models["behind", place] = task.backbone, list(behind)
            models["before", place] = Embedder(before, None if behind else task.pool)
        if (batch_size, place) not in models or models[batch_size, place].head is not task.head:
            models[batch_size, place] = OnEmbeddings(task, batch_size, models["behind", place])
    return models["before", place], models[batch_size, place]


def embed(embedder, data, *, batch_size, scale=True, verbose=0):
    """Arrays `(x, y)` (or with sample weights) to the same with embeddings in the place of x.

    Args:
        embedder: an `Embedder`.
        data: arrays.
        batch_size: examples at a time.
        scale: see `data.batches`.
        verbose: 0 for no progress bar.
    """
    columns, size = to_columns(data)
    progress = Progress(size, "Computing the embeddings of the frozen backbone, once:")
    embeddings, done = None, 0
    for batch in data_module.batches(columns[0], batch_size=batch_size, scale=scale):
        part = embedder.predict_on_batch(batch)
        if embeddings is None:
            embeddings = np.empty((size, *part.shape[1:]), part.dtype)
        embeddings[done : done + len(part)] = part
        done += len(part)
        if verbose:
            progress.add(len(part))
    return (embeddings, *columns[1:])


class _Forward(keras.callbacks.Callback):
    """Hands a stop that a callback asked the task for on to the model that is trained in its stead."""

    def __init__(self, model):
        super().__init__()
        self.trained = model

    def on_train_begin(self, logs=None):
        self.model.stop_training = False

    def on_epoch_end(self, epoch, logs=None):
        self.trained.stop_training = self.model.stop_training


def callbacks_of(task, model, callbacks, verbose, epochs, steps):
    """A callback list for fitting `model` in which every callback sees the task."""
    listed = keras.callbacks.CallbackList(
        [*callbacks, _Forward(model)],
        add_history=True,
        add_progbar=verbose != 0,
        model=task,
        verbose=1 if verbose == "auto" else verbose,
        epochs=epochs,
        steps=steps,
    )
    model.history = task.history  # which fit returns
    return listed


def why_not(task, data):
    """Why the embeddings of a task, as its flags now stand, cannot be computed beforehand; None if they can.

    They can when the data are arrays and everything before the head stands still: no variable is trained, no
    BatchNormalization is live, and nothing draws random numbers (augmentation, dropout).
    """
    return _why_nothing(task, data) or why_it_moves(task.backbone)


def frozen_half(task, data, examples):
    """What can be computed beforehand for a task, as its flags now stand: all of its backbone, or its beginning.

    Args:
        task: the task.
        data: the training data.
        examples: number of examples, of validation too.

    Returns:
        `(before, behind)` as `prefix.split` gives them, with an empty `before` where nothing can.
    """
    if _why_nothing(task, data) is not None:
        return [], [task.backbone]
    before, behind = split(task.backbone)
    if behind and before:
        shape = task.backbone.input_shape
        for part in before:
            shape = part.compute_output_shape(shape)
        shape = shape[1:]
        if None in shape or 4 * math.prod(shape) * examples > MEMORY:
            return [], [task.backbone]
    return before, behind


def _why_nothing(task, data):
    """Why no part of a task can be computed beforehand, whatever its flags are."""
    if is_dataset(data):
        return "a tf.data.Dataset may give other examples in every epoch"
    own = type(task)
    if not isinstance(task, Task) or own.call is not Task.call or own.embed is not Task.embed:
        return f"{own.__name__} has a call of its own"
    if any(
        getattr(own, name) is not getattr(Task, name) for name in ("compute_loss", "train_step", "test_step")
    ):
        return f"{own.__name__} has a training step or loss of its own"
    if task.augmentation is not None:
        return "examples are augmented"
    if placement.replicas() > 1 or task._on_replicas:
        return "several replicas share the batch"
    return why_it_moves(task.pool)
