"""Batches of arrays in an order that depends on (seed, epoch) alone, so that any step can be returned to."""

import keras
import numpy as np

from tftransfer.data.shares import rows_of_piece


def map_features(function, columns):
    """Applies `function` to the features, not to the labels, of `(x, ...)`; x is an array or a dict of "
    "arrays."""
    x, *labels = columns
    x = {key: function(value) for key, value in x.items()} if isinstance(x, dict) else function(x)
    return (x, *labels)


def as_element(columns):
    """What `fit` takes: (x, y), or x alone; x is an array or a dict."""
    return columns[0] if len(columns) == 1 else columns


def plan(size, batch_size, drop_remainder):
    """Number of batches an epoch of `size` examples makes."""
    return size // batch_size if drop_remainder else -(-size // batch_size)


def to_float(value):
    """NumPy: uint8 in [0, 255] to float32 in [0, 1], other floats to float32; integers stay."""
    if value.dtype == np.uint8:
        return value.astype(np.float32) / np.float32(255)
    return value.astype(np.float32) if value.dtype.kind == "f" else value


class NumpyBatches(keras.utils.PyDataset):
    """Batches by NumPy, for backends other than TensorFlow; what `batches` returns there.

    Args:
        columns: `(x,)` or `(x, y)`; x an array or a dict of arrays.
        size: Number of examples.

    The other arguments are those of `batches`.

    Example:

    >>> pipeline = NumpyBatches((np.arange(5),), 5, batch_size=2)
    >>> [batch.tolist() for batch in pipeline]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        columns,
        size,
        *,
        batch_size,
        shuffle=False,
        seed=0,
        drop_remainder=False,
        start=0,
        repeat=False,
        scale=True,
        transform=None,
        order=None,
    ):
        super().__init__()
        self.columns = columns
        self.size = size
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.start = start
        self.repeat = repeat
        self.scale = scale
        self.transform = transform
        self.order = order
        self.steps = plan(size, batch_size, drop_remainder)
        self._pass = 0
        self._order = (None, None)

    @property
    def num_batches(self):
        """Batches in a pass; None when they are repeated without end."""
        return None if self.repeat else self.steps - self.start

    def on_epoch_end(self):
        """Gives the next pass another order."""
        self._pass += not self.repeat

    def _rows(self, epoch, step):
        rows = slice(step * self.batch_size, min((step + 1) * self.batch_size, self.size))
        if not self.shuffle:
            return rows
        known, order = self._order  # read once: several threads may ask
        if known != epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(self.size)
            self._order = (epoch, order)
        return order[rows]

    def __getitem__(self, index):
        if self.repeat:
            epoch, step = divmod(self.start + index, self.steps)
        else:
            epoch, step = self._pass, self.start + index
        if not self.repeat and step >= self.steps:
            raise IndexError(index)
        rows, widths = (self._rows(epoch, step), None) if self.order is None else self.order(epoch, step)
        x, *labels = self.columns
        x = {key: value[rows] for key, value in x.items()} if isinstance(x, dict) else x[rows]
        columns = (x, *(label[rows] for label in labels))
        if widths is not None:
            columns = self.order.cut(columns, widths)
        element = as_element(map_features(to_float, columns) if self.scale else columns)
        self.step = self.start + index  # for a transform that depends on it
        return element if self.transform is None else self.transform(element)


def tensorflow_batches(
    columns,
    size,
    *,
    batch_size,
    shuffle=False,
    seed=0,
    drop_remainder=False,
    start=0,
    repeat=False,
    scale=True,
    share=None,
    order=None,
):
    """The same as a `tf.data.Dataset`; see `batches` for the arguments; `order` is a `ByLength`, or None.

    The order is not kept but computed: `tf.random.experimental.index_shuffle` gives place i of the
    permutation of (seed, epoch) by itself, so that a batch costs one gather, an epoch no shuffle buffer, and
    any step can be jumped to.
    """
    import tensorflow as tf

    steps = plan(size, batch_size, drop_remainder)
    even = drop_remainder or size % batch_size == 0 or steps == 1
    with tf.device("CPU:0"):  # a GPU would take the whole array and hand each batch back to the host
        tensors = tf.nest.map_structure(tf.convert_to_tensor, columns)
    rows = min(batch_size, size)
    pieces = 1 if share is None else share[2]
    alike = even and rows % pieces == 0

    def batch(epoch, step, piece=None):
        first = step * batch_size
        last = first + rows if even else tf.minimum(first + batch_size, size)
        begin, end = (first, last) if piece is None else rows_of_piece(first, last, piece, pieces)
        if order is not None:
            places, widths = tf.numpy_function(order, (epoch, step), (tf.int64, tf.int64), stateful=False)
            widths.set_shape((None,))
            places = tf.ensure_shape(
                places[begin - first : end - first], (rows // pieces if alike else None,)
            )
            part = tf.nest.map_structure(lambda t: tf.gather(t, places), tensors)
            part = order.cut(part, widths)
            return as_element(map_features(tensor_to_float, part) if scale else part)
        if shuffle:
            places = tf.range(first, last)
            places = tf.random.experimental.index_shuffle(places, seed=(seed, epoch), max_index=size - 1)
            places = places[begin - first : end - first]
            part = tf.nest.map_structure(lambda t: tf.gather(t, places), tensors)
        else:
            part = tf.nest.map_structure(lambda t: t[begin:end], tensors)
        if alike:
            part = tf.nest.map_structure(lambda t: tf.ensure_shape(t, (rows // pieces, *t.shape[1:])), part)
        return as_element(map_features(tensor_to_float, part) if scale else part)

    if repeat:
        dataset = tf.data.Dataset.counter(start).map(lambda s: (s // steps, s % steps))
    elif shuffle:
        # One random number a pass, another one each time the dataset is iterated, takes the epoch's place.
        passes = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).take(1)
        dataset = passes.flat_map(lambda p: tf.data.Dataset.range(start, steps).map(lambda s: (p, s)))
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps - start))
    else:
        dataset = tf.data.Dataset.range(start, steps).map(lambda s: (tf.constant(0, tf.int64), s))
    if share is not None:
        dataset = dataset.flat_map(
            lambda epoch, step: tf.data.Dataset.range(*share[:2]).map(lambda piece: (epoch, step, piece))
        )
    return dataset.map(batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def tensor_to_float(value):
    """TensorFlow: uint8 in [0, 255] to float32 in [0, 1], other floats to float32; integers and strings "
    "stay."""
    import tensorflow as tf

    if value.dtype == tf.uint8:
        return tf.cast(value, tf.float32) / 255.0
    return tf.cast(value, tf.float32) if value.dtype.is_floating else value
