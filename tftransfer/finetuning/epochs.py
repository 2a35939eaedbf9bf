"""A head on embeddings, trained an epoch per call: one compiled loop over arrays in memory."""

import math

import keras
import numpy as np
from keras import ops

from tftransfer import data as data_module
from tftransfer import placement

__all__ = ["OnEmbeddings", "epoch_batches", "hears_steps"]

GATHERED = 2**26  # bytes of embeddings that are brought into order at once


class OnEmbeddings(placement.PlacedModel):
    """The task behind its embeddings, as a model of its own that shares the task's head.

    With a `batch_size`, what `fit` takes for one batch is a whole epoch: the order of the examples, and all
    of them. The steps run in a loop inside the compiled function: Keras's work around each step costs several
    times what a step on embeddings does.

    Args:
        task: the task.
        batch_size: examples per step; None for ordinary batches.
        behind: what of the backbone comes behind the embeddings, where only its beginning stands still.
    """

    def __init__(self, task, batch_size=None, behind=()):
        super().__init__(name="on_embeddings")
        self.behind = list(behind)
        self.pool = task.pool if self.behind else None
        self.head = task.head
        self.drop = task.drop
        self.batch_size = batch_size
        self.built = True

    def call(self, embeddings, training=None):
        for part in self.behind:
            embeddings = part(embeddings, training=training)
        if self.pool is not None:
            embeddings = self.pool(embeddings)
        if self.drop is not None:
            embeddings = self.drop(embeddings, training=training)
        return self.head(embeddings)

    def get_config(self):
        return {
            "head": keras.saving.serialize_keras_object(self.head),
            "drop": self.drop and self.drop.rate,
            "batch_size": self.batch_size,
            "behind": [part.get_config() for part in self.behind],
        }

    def train_step(self, *args):
        step = super().train_step
        if self.batch_size is None:
            return step(*args)
        *state, data = args  # on JAX the state of everything goes through
        places, *columns = keras.tree.flatten(data)

        def rows(columns, first, count):
            return tuple(ops.slice(c, (first, *[0] * (c.ndim - 1)), (count, *c.shape[1:])) for c in columns)

        def ordered(first, count):
            (chosen,) = rows((places,), first, count)
            return tuple(ops.take(column, chosen, axis=0) for column in columns)

        size, examples = self.batch_size, ops.shape(places)[0]
        if keras.backend.backend() == "jax":
            size = min(size, examples)
            last = (examples - 1) // size * size  # its step is outside the loop, for its logs
            state = ops.fori_loop(
                0, last // size, lambda i, s: step(s, ordered(i * size, size))[1], tuple(state[0])
            )
            return step(state, ordered(last, examples - last))

        many = self._gathered(columns) * size  # a gather for each step costs about as much as the step

        def one_more(i, gathered):
            step(rows(gathered, i * size, ops.minimum(size, ops.shape(gathered[0])[0] - i * size)))
            return gathered

        def many_more(i, done):
            gathered = ordered(i * many, ops.minimum(many, examples - i * many))
            ops.fori_loop(0, -(-ops.shape(gathered[0])[0] // size), one_more, gathered)
            return done

        ops.fori_loop(0, -(-examples // many), many_more, 0)
        return self.get_metrics_result()

    def _gathered(self, columns):
        """Steps whose examples are brought into order at once."""
        row = sum(8 * math.prod(c.shape[1:]) for c in columns)  # bytes, at most
        return max(GATHERED // (row * self.batch_size), 1)

    def _symbolic_build(self, iterator=None, data_batch=None):
        """Keras's look at the first batch, to build loss and metrics: it is shown one, not an epoch."""
        if data_batch is None:
            _, _, batches = next(iter(iterator))
            data_batch = keras.tree.flatten(next(batches))
        if len(data_batch[0].shape) == 1:  # the order of the examples
            data_batch = tuple(column[: self.batch_size] for column in data_batch[1:])
        return super()._symbolic_build(data_batch=data_batch)


def epoch_batches(columns, *, seed, start, draws=1):
    """What a whole-epoch `OnEmbeddings` is fitted on, on TensorFlow: for each epoch `(order, *columns)`, without end.

    The order is the one that `data.batches` gives the same number of examples with the same seed.

    Args:
        columns: arrays `(embeddings, y)`, or with sample weights.
        seed: of the order.
        start: epochs of the run that are done.
        draws: how many draws of each example the embeddings hold, one after the other; epoch e reads draw
            `e % draws`.
    """
    size = len(columns[0]) // draws
    options = {"batch_size": size, "shuffle": True, "seed": seed, "repeat": True, "scale": False}
    orders = data_module.batches(np.arange(size), start=start, **options)
    embeddings, *labels = (ops.convert_to_tensor(column) for column in columns)

    def epoch(number, order):
        first = number % draws * size
        return (order, embeddings[first : first + size] if draws > 1 else embeddings, *labels)

    return orders.enumerate(start).map(epoch)


def hears_steps(callback):
    """Whether a callback wants to be told of each step."""
    own, base = type(callback), keras.callbacks.Callback
    hooks = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
    return any(getattr(own, hook) is not getattr(base, hook) for hook in hooks)
