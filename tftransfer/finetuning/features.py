"""A frozen backbone runs once per example: the head trains on embeddings computed beforehand."""

import keras
import numpy as np

from tftransfer import data as data_module
from tftransfer import placement
from tftransfer.data.batches import to_columns
from tftransfer.data.dataset_batches import is_dataset
from tftransfer.data.progress import Progress
from tftransfer.finetuning.compilation import kept_beside
from tftransfer.finetuning.epochs import OnEmbeddings
from tftransfer.tasks.task import Task

__all__ = ["Embedder", "callbacks_of", "embed", "helpers", "why_not"]


class Embedder(placement.PlacedModel):
    """The task up to its embeddings, as a model of its own that shares the task's layers."""

    def __init__(self, task):
        super().__init__(name="embedder")
        self.part = [task.backbone, task.pool]
        self.built = True

    def call(self, inputs):
        backbone, pool = self.part
        return pool(backbone(inputs, training=False))


def helpers(task, batch_size=None):
    """The `Embedder` and the `OnEmbeddings` of a task, made once.

    Args:
        task: the task.
        batch_size: see `OnEmbeddings`.
    """
    models = kept_beside(task).models
    with task.scope():
        if "embedder" not in models or models["embedder"].part[0] is not task.backbone:
            models["embedder"] = Embedder(task)
        if batch_size not in models or models[batch_size].head is not task.head:
            models[batch_size] = OnEmbeddings(task, batch_size)
    return models["embedder"], models[batch_size]


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
    parts = []
    for batch in data_module.batches(columns[0], batch_size=batch_size, scale=scale):
        parts.append(embedder.predict_on_batch(batch))
        if verbose:
            progress.add(len(parts[-1]))
    return (np.concatenate(parts), *columns[1:])


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
    for part in (task.backbone, task.pool):
        if part.trainable_variables:
            return f"{part.name} is trained"
        if len(part.variables) > len(part.weights):  # the states of random number generators
            return f"{part.name} draws random numbers (dropout or augmentation)"
        for layer in part._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
                return f"the BatchNormalization {layer.name} is live"
    if placement.replicas() > 1 or task._on_replicas:
        return "several replicas share the batch"
    return None
