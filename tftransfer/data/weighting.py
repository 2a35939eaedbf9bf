"""Class weights as sample weights, which every way of training understands."""

import numpy as np

from tftransfer.data.batches import to_columns
from tftransfer.data.dataset_batches import columns_of, is_dataset


def weighted(data, weights):
    """Labelled data with a weight for each example: that of its class.

    The same as `fit(class_weight=...)` in Keras, but part of the data, so that it also holds where batches
    are made otherwise (embeddings computed once, whole epochs in a loop). Soft labels get the mean of the
    weights under them, where Keras takes the weight of the likeliest class.

    Args:
        data: pair (x, y), `Examples`, or a `tf.data.Dataset` of pairs; y class numbers or rows of classes.
        weights: dict `{class: weight}` with every class from 0 on, as `finetuning.class_weights` gives it.

    Returns:
        `(x, y, sample_weight)`, or a `tf.data.Dataset` of such.

    Raises:
        ValueError: when there are no labels, or weights of the examples already.

    Example:

    >>> weighted((np.zeros((3, 2)), [0, 1, 0]), {0: 0.5, 1: 2.0})[2]
    array([0.5, 2. , 0.5], dtype=float32)
    """
    table = np.array([weights[c] for c in range(len(weights))], "float32")
    columns = columns_of(data.element_spec) if is_dataset(data) else to_columns(data)[0]
    if len(columns) != 2:
        kind = "no labels" if len(columns) < 2 else "weights of its examples already"
        raise ValueError(f"class weights need labelled pairs (x, y); the data has {kind}.")
    if not is_dataset(data):
        x, y = columns
        if y.ndim == 2 and y.shape[1] > 1:
            return x, y, (y @ table).astype("float32")
        return x, y, table[y.reshape(len(y)).astype(int)]
    import tensorflow as tf

    def add(*element):
        x, y = columns_of(element[0] if len(element) == 1 else element)
        rows = y.shape.rank and y.shape[-1] == len(table)
        if rows and (y.shape.rank == 2 or y.dtype.is_floating):  # not a batch of as many class numbers
            return x, y, tf.tensordot(tf.cast(y, tf.float32), tf.constant(table), 1)
        numbers = tf.reshape(y, [-1]) if y.shape.rank == 2 else y
        return x, y, tf.gather(table, tf.cast(numbers, tf.int32))

    return data.map(add, num_parallel_calls=tf.data.AUTOTUNE)
