"""Features as `fit` reads them: shuffled as examples would be, from memory or disk, draw by draw."""

import keras
import numpy as np

from tftransfer import data as data_module
from tftransfer.finetuning.epochs import epoch_batches

__all__ = ["Features"]

CHUNK = 2**26  # bytes of features on disk that a whole-epoch model is handed at a time


class Features:
    """What the frozen part made of data: rows in memory or on disk, and the labels that go with them.

    Args:
        rows: array or `Shards` `(draws × examples, ...)`, all of one draw after all of another.
        labels: the other columns, `(y,)` or `(y, sample weights)`.
        draws: how many draws of each example.

    Example:

    >>> features = Features(np.zeros((6, 2), "float32"), [np.arange(3)], draws=2)
    >>> features.size, features.draws
    (3, 2)
    """

    def __init__(self, rows, labels, draws=1):
        self.rows, self.labels, self.draws = rows, tuple(labels), draws
        self.size = len(rows) // draws
        self.on_disk = not isinstance(rows, np.ndarray)

    def columns(self):
        """`(x, y)` (or with sample weights), of one draw, in memory."""
        return (self.rows[: self.size], *self.labels)

    def part(self, places):
        """The `Features` of some of the examples.

        Args:
            places: their numbers.
        """
        rows = np.concatenate([places + draw * self.size for draw in range(self.draws)])
        rows = _Part(self.rows, rows) if self.on_disk else self.rows[rows]
        return Features(rows, [column[places] for column in self.labels], self.draws)

    def training(self, *, batch_size, seed, step, epoch_steps, steps, whole):
        """Batches without end in the order that `data.batches` gives as many examples with the same seed.

        Args:
            batch_size: examples a step.
            seed: of the order.
            step: steps of the run that are done.
            epoch_steps: steps an epoch.
            steps: steps of the next epoch that `fit` will run; fewer where a run goes on in the middle of one.
            whole: whether the model takes many steps at once (`epochs.OnEmbeddings` with a batch size).

        Returns:
            The batches, and how many of them make an epoch for `fit`.
        """
        if self.on_disk or keras.backend.backend() != "tensorflow":
            if not whole:
                stream = _Stream(self, batch_size, seed, step)
                return stream, steps
            size = self.size
            if self.on_disk:  # a multiple of the batch size, so that batches are the same
                row = max(int(np.prod(self.rows.shape[1:])) * self.rows.dtype.itemsize, 1)
                size = max(CHUNK // row // batch_size, 1) * batch_size
            stream = _Stream(self, size, seed, step // epoch_steps * -(-self.size // size), whole=True)
            return stream, stream.steps
        if whole:
            columns = (self.rows, *self.labels)
            return epoch_batches(columns, seed=seed, start=step // epoch_steps, draws=self.draws), 1
        options = {"batch_size": batch_size, "shuffle": True, "seed": seed, "repeat": True, "start": step}
        if self.draws == 1:
            return data_module.batches(self.columns(), **options), steps
        places = data_module.batches(np.arange(self.size), scale=False, **options)
        columns = tuple(keras.ops.convert_to_tensor(column) for column in (self.rows, *self.labels))

        def batch(number, rows):
            x, *labels = columns
            drawn = rows + self.size * ((number // epoch_steps) % self.draws)
            x = keras.ops.cast(keras.ops.take(x, drawn, axis=0), "float32")
            return (x, *(keras.ops.take(column, rows, axis=0) for column in labels))

        return places.enumerate(step).map(batch), steps

    def in_order(self, *, batch_size):
        """Batches of a single pass, in order."""
        if self.on_disk:
            return _Stream(self, batch_size, None, 0)
        return data_module.batches(self.columns(), batch_size=batch_size)


class _Part:
    """Some of the rows of `Shards`, which are not copied."""

    def __init__(self, rows, places):
        self.rows, self.places = rows, places
        self.shape, self.dtype = (len(places), *rows.shape[1:]), rows.dtype

    def __len__(self):
        return len(self.places)

    def __getitem__(self, rows):
        return self.rows[self.places[rows]]


class _Stream(keras.utils.PyDataset):
    """Batches that are gathered from the rows by their places in the order of the epoch.

    Args:
        source: the `Features`.
        batch_size: examples a batch.
        seed: of the order; None for one pass in order.
        start: batches that are done.
        whole: whether to put the places inside the batch before it, for `epochs.OnEmbeddings`.
    """

    def __init__(self, source, batch_size, seed, start, whole=False):
        super().__init__()
        self.source, self.batch_size, self.seed, self.start, self.whole = (
            source,
            batch_size,
            seed,
            start,
            whole,
        )
        self.steps = -(-source.size // batch_size)
        self._order = _Order(source.size, seed) if seed is not None else lambda epoch: np.arange(source.size)

    @property
    def num_batches(self):
        return None if self.seed is not None else self.steps

    def __getitem__(self, index):
        source = self.source
        epoch, step = divmod(self.start + index, self.steps)
        places = self._order(epoch)[step * self.batch_size : (step + 1) * self.batch_size]
        first = epoch % source.draws * source.size
        if self.whole and not source.on_disk:
            return places, (source.rows[first : first + source.size], *source.labels)
        x = source.rows[places + first]
        x = x.astype("float32") if x.dtype.kind == "f" and not self.whole else x
        batch = (x, *(column[places] for column in source.labels))
        return (np.arange(len(places)), batch) if self.whole else batch  # Keras takes three parts at most


class _Order:
    """The order of the examples in an epoch, as `data.batches` makes it; asked for one epoch after another."""

    def __init__(self, size, seed):
        self.size, self.seed = size, seed
        self._known, self._next = (None, None), (None, None)

    def __call__(self, epoch):
        known, order = self._known
        if known != epoch:
            awaited, orders = self._next
            if awaited != epoch:
                options = {"batch_size": self.size, "shuffle": True, "seed": self.seed, "repeat": True}
                orders = data_module.batches(np.arange(self.size), start=epoch, scale=False, **options)
                orders = (
                    iter(orders) if hasattr(orders, "enumerate") else map(orders.__getitem__, range(2**62))
                )
            order = np.asarray(next(orders))
            self._known, self._next = (epoch, order), (epoch + 1, orders)
        return order
