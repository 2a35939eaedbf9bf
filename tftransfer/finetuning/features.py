"""What stands still of a task runs once per example: the rest trains on the features computed beforehand."""

import collections
import contextlib
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
from tftransfer.finetuning.prefix import split, why_it_ends, why_it_moves
from tftransfer.layers import random_states_kept
from tftransfer.tasks.task import Task

__all__ = [
    "Embedder",
    "Frozen",
    "callbacks_of",
    "drawing",
    "draws_numbers",
    "embed",
    "embedded_parts",
    "frozen_half",
    "helpers",
]

Frozen = collections.namedtuple("Frozen", "before behind reason")


class Embedder(placement.PlacedModel):
    """What stands still of a task, as a model of its own that shares the task's layers.

    Args:
        parts: models and layers to be called one after the other.
        pool: the task's pooling, where they are all of the backbone.
        augmentation: what the examples go through before.
        drawn: whether everything runs as in training, so that random numbers are drawn.
    """

    def __init__(self, parts, pool=None, augmentation=None, drawn=False):
        super().__init__(name="embedder")
        self.parts, self.pool, self.augmentation, self.drawn = list(parts), pool, augmentation, drawn
        self.built = True

    def call(self, inputs):
        if self.augmentation is not None:
            inputs = self.augmentation(inputs, training=True)
        for part in self.parts:
            inputs = part(inputs, training=self.drawn)
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
    place = tuple(id(v) for part in behind for v in part.weights), sum(len(p.variables) for p in before)
    with task.scope():
        if models.get(("of", place)) is not task.backbone:
            models["of", place], models["behind", place] = task.backbone, list(behind)
            models["before", place] = Embedder(before, None if behind else task.pool)
        if (batch_size, place) not in models or models[batch_size, place].head is not task.head:
            models[batch_size, place] = OnEmbeddings(task, batch_size, models["behind", place])
    return models["before", place], models[batch_size, place]


def draws_numbers(task, embedder):
    """Whether what stands still, or what examples go through before it, draws random numbers."""
    return task.augmentation is not None or len(embedder.variables) > len(embedder.weights)


def drawing(task, embedder):
    """The `Embedder` of the same parts as in training: augmentation before them, random numbers drawn."""
    models = kept_beside(task).models
    known = models.get(("drawing", id(embedder)))
    if known is None or known.augmentation is not task.augmentation or known.parts != embedder.parts:
        with task.scope():
            known = Embedder(embedder.parts, embedder.pool, task.augmentation, drawn=True)
        models["drawing", id(embedder)] = known
    return known


def embed(embedder, data, *, batch_size, scale=True, verbose=0, dtype=None, draws=None, seed=0):
    """`(x, y)` (or with sample weights) to the same with embeddings in the place of x, in memory.

    Args:
        embedder: an `Embedder`.
        data: arrays, or a `tf.data.Dataset` with an end.
        batch_size: examples at a time.
        scale: see `data.batches`.
        verbose: 0 for no progress bar.
        dtype: "float16" to keep them in; else they stay as computed.
        draws: how many times to go through the data, for an embedder that draws random numbers; the rows of
            one draw follow those of another.
        seed: of the draws.
    """
    labels = []
    options = {"batch_size": batch_size, "scale": scale, "verbose": verbose, "dtype": dtype}
    parts = embedded_parts(embedder, data, labels, draws=draws, seed=seed, **options)
    if is_dataset(data):
        return (np.concatenate(list(parts)), *labels)
    columns, size = to_columns(data)
    embeddings, done = None, 0
    for part in parts:
        if embeddings is None:
            embeddings = np.empty((size * (draws or 1), *part.shape[1:]), part.dtype)
        embeddings[done : done + len(part)] = part
        done += len(part)
    return (embeddings, *columns[1:])


def embedded_parts(
    embedder, data, labels, *, batch_size, scale=True, verbose=0, dtype=None, draws=None, seed=0
):
    """The embeddings batch by batch; arguments are those of `embed`.

    Args:
        labels: a list, to which the label columns of a `tf.data.Dataset` are added at the end.
    """
    stream = is_dataset(data)
    x, size = (data, None) if stream else to_columns(data)
    total = None if stream else size * (draws or 1)
    progress = Progress(total, "Computing the features of what is frozen, once:")
    options = {"batch_size": batch_size, "scale": scale, "labels": stream}
    options |= {"input_shape": embedder.parts[0].input_shape[1:]} if stream else {}
    batches = data_module.batches(x if stream else x[0], **options)
    columns = []
    with _seeded(embedder if draws else None) as seeded:
        for draw in range(draws or 1):
            seeded(seed, draw)
            for batch in batches:
                if stream:
                    batch, *beside = keras.tree.map_structure(np.asarray, tuple(batch))
                    columns.append(beside)
                part = embedder.predict_on_batch(batch)
                if dtype == "float16" or part.dtype.itemsize < 4:
                    part = part.astype(dtype or "float32")
                if verbose:
                    progress.add(len(part))
                yield part
    labels.extend(np.concatenate(column) for column in zip(*columns, strict=True))


@contextlib.contextmanager
def _seeded(embedder):
    """Gives a function that sets the random states of an embedder by seed and draw; puts them back in the end."""
    with random_states_kept(embedder) as states:

        def seeded(seed, draw):
            for place, state in enumerate(states):
                entropy = np.random.SeedSequence([seed, draw, place])
                state.assign(
                    entropy.generate_state(math.prod(state.shape)).reshape(state.shape).astype(state.dtype)
                )

        yield seeded


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


def frozen_half(task, data, examples, caching=None):
    """What can be computed beforehand for a task, as its flags now stand: all of its backbone, or its beginning.

    Args:
        task: the task.
        data: the training data.
        examples: number of examples, of validation too.
        caching: the `Caching` that says where they may be kept; by default in memory.

    Returns:
        `Frozen(before, behind, reason)`: the halves as `prefix.split` gives them, `before` empty where nothing
        can; and in words why less is computed beforehand than the stage leaves untrained (None where it is
        all of that).
    """
    drawn = bool(caching and caching.draws)
    nothing = [], [task.backbone]
    ends = why_it_ends(task.backbone, drawn=drawn)
    before, behind = split(task.backbone, drawn=drawn)
    reason = _why_nothing(task, data, drawn)
    if reason is not None:
        return Frozen(*nothing, reason if before or ends else None)
    if before and caching is not None:
        shape = task.backbone.input_shape
        for part in before if behind else [task.backbone, task.pool]:
            shape = part.compute_output_shape(shape)
        reason = caching.refuses(tuple(shape[1:]), examples, tuple(task.backbone.input_shape[1:]))
        if reason is not None:
            return Frozen(*nothing, reason)
    return Frozen(before, behind, ends)


def _why_nothing(task, data, drawn=False):
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
    if task.augmentation is not None and not drawn:
        return "examples are augmented"
    if placement.replicas() > 1 or task._on_replicas:
        return "several replicas share the batch"
    return why_it_moves(task.pool, drawn=drawn)
