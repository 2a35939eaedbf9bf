"""Layers that draw random numbers, under replicas: each draws what one device would for the same examples.

Every replica holds the same seed states, so that stock Keras layers draw the same numbers on each: row 3 of every
replica is dropped out alike.
"""

import contextlib
import threading

import keras

from tftransfer.placement.methods import replace_method
from tftransfer.placement.replicas import drawing_for_all, replica_context, rows_before_and_total

__all__ = ["adapt_noise", "batch_of_this_step"]

ROW_BY_ROW = (
    keras.layers.Dropout,  # and with it SpatialDropout, and what MultiHeadAttention drops out by
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.AlphaDropout,
)
APART = 1_000_003  # between the seeds of replicas

_step = threading.local()  # TensorFlow traces each replica in a thread of its own


@contextlib.contextmanager
def batch_of_this_step(rows, before, total):
    """Within it layers know that this replica holds `rows` of the `total` examples, from `before` on."""
    _step.batch = rows, before, total
    try:
        yield
    finally:
        _step.batch = None


def adapt_noise(model):
    """Makes the layers of a model that draw random numbers right on several replicas; nothing changes on one device.

    ===============================================  ============================================================
    Dropout, SpatialDropout, GaussianNoise,          the numbers of one device with the global batch: the layer
    GaussianDropout, AlphaDropout, dropout in        runs on rows of the global batch, zeros in the places of the
    MultiHeadAttention, LSTM, GRU, SimpleRNN         other replicas', and keeps its own
    layers of this package, subclasses of            as they are: they draw by `per_example`
    `PlacedModel`
    other layers that draw and have no weights of    different numbers on each replica, the same in each run;
    their own: Keras's and the user's augmentation,  not those of one device, unless they draw by `per_example`
    stochastic depth, `Attention(dropout=…)`
    layers that draw and have weights of their own   as they are, for these must not come apart: the same numbers
    (codebooks, noise on a kernel)                   on all replicas
    ===============================================  ============================================================

    A tensor with k times as many rows as the batch counts as k views, one after the other.

    Args:
        model: a `keras.Model`; its layers are changed in place, once however often called.
    """
    for layer in model._flatten_layers():
        if isinstance(layer, ROW_BY_ROW):
            replace_method(layer, "call", _on_global_rows)
        elif hasattr(layer, "_create_dropout_mask"):  # the cells of recurrent layers
            replace_method(layer, "_create_dropout_mask", _on_global_rows)
        elif _is_foreign(layer) and not (layer._trainable_variables or layer._non_trainable_variables):
            for generator in layer._seed_generators:
                replace_method(generator, "next", _apart)


def _is_foreign(layer):
    from tftransfer.placement.model import PlacedModel

    ours = type(layer).__module__.startswith("tftransfer.")
    return not ours and not isinstance(layer, PlacedModel)


def _apart(stock):
    def next_seed(self, *args, **kwargs):
        seed, context = stock(self, *args, **kwargs), replica_context()
        if context is None or drawing_for_all():
            return seed
        number = keras.ops.cast(context.replica_id_in_sync_group, seed.dtype)
        return seed + keras.ops.stack([APART * number, 0 * number])

    return next_seed


def _on_global_rows(stock):
    def call(self, inputs, *args, **kwargs):
        idle = kwargs.get("training", args[0] if args else None) is False
        layout = None if idle else _layout(inputs)
        if layout is None:
            return stock(self, inputs, *args, **kwargs)
        outputs = stock(self, _widened(inputs, *layout), *args, **kwargs)
        return keras.tree.map_structure(lambda y: _narrowed(y, inputs, *layout), outputs)

    return call


def _layout(x):
    """`(copies, rows, before, total)` of a tensor that holds the examples of the step `copies` times.

    None on one device, and where its rows are no examples.
    """
    if replica_context() is None or not len(x.shape):
        return None
    known = keras.ops.shape(x)[0]
    rows, before, total = getattr(_step, "batch", None) or (known, *rows_before_and_total(known))
    if isinstance(known, int) and isinstance(rows, int):
        divides = known % max(rows, 1) == 0
        return (known // max(rows, 1), rows, before, total) if divides else None
    if isinstance(known, int):  # fixed, while that of the batch is not
        return None
    return -(-known // keras.ops.maximum(rows, 1)), rows, before, total


def _widened(x, copies, rows, before, total):
    """`(copies · rows, …)` to `(copies · total, …)`, with zeros in the places of other replicas' examples."""
    import tensorflow as tf

    rest, none = tuple(keras.ops.shape(x)[1:]), [[0, 0]] * (len(x.shape) - 1)
    if not isinstance(copies, int):
        x = tf.pad(x, [[0, copies * rows - tf.shape(x)[0]], *none])
    x = tf.reshape(x, (copies, rows, *rest))
    x = tf.pad(x, [[0, 0], [before, total - before - rows], *none])
    return tf.reshape(x, (copies * total, *rest))


def _narrowed(y, like, copies, rows, before, total):
    """The rows of `like` out of what was computed on its widened form."""
    import tensorflow as tf

    rest = tuple(keras.ops.shape(y)[1:])
    y = tf.reshape(y, (copies, total, *rest))[:, before : before + rows]
    y = tf.reshape(y, (copies * rows, *rest))
    return y if isinstance(copies, int) else y[: tf.shape(like)[0]]
