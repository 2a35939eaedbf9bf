"""Which rows of each batch a worker reads, where several train one model together."""

import keras

__all__ = ["is_own_share", "own_part", "rows_of_piece", "sliced"]


def rows_of_piece(first, behind, piece, pieces):
    """The rows of one of so many pieces of the batch `first ... behind`: evenly many, the last ones fewer or none.

    Args:
        first, behind: int64 tensors.
        piece: number of the piece.
        pieces: how many there are.

    Returns:
        First row of the piece, and the row behind its last.

    Example:

    >>> import tensorflow as tf
    >>> [int(row) for row in rows_of_piece(tf.constant(10), tf.constant(15), 1, 2)]
    [13, 15]
    """
    import tensorflow as tf

    each = (behind - first + pieces - 1) // pieces
    return tf.minimum(first + piece * each, behind), tf.minimum(first + (piece + 1) * each, behind)


def sliced(batches, share):
    """The rows that a worker's replicas read of whole batches: a piece for each of them, one after the other.

    Args:
        batches: `tf.data.Dataset` of whole batches, the same on every worker.
        share: `(first, behind, all)` replicas, as in `batches`.

    Example:

    >>> import tensorflow as tf
    >>> whole = tf.data.Dataset.range(6).batch(4)
    >>> [piece.tolist() for piece in sliced(whole, (1, 2, 2)).as_numpy_iterator()]
    [[2, 3], [5]]
    """
    import tensorflow as tf

    specs = keras.tree.flatten(batches.element_spec)
    known = specs[0].shape[0] if specs[0].shape.rank else None
    size = known // share[2] if known is not None and known % share[2] == 0 else None

    def piece(number, *element):
        rows = tf.shape(keras.tree.flatten(element)[0], out_type=tf.int64)[0]
        first, behind = rows_of_piece(tf.constant(0, tf.int64), rows, number, share[2])

        def cut(value):
            part = value[first:behind]
            part.set_shape((size, *value.shape[1:]))
            return part

        cuts = tf.nest.map_structure(cut, element)
        return cuts[0] if len(cuts) == 1 else cuts

    def pieces(*element):
        return tf.data.Dataset.range(*share[:2]).map(lambda number: piece(number, *element))

    return batches.flat_map(pieces)


def is_own_share(dataset):
    """Whether a `tf.data.Dataset` holds this worker's share of the examples already, by its own word.

    That word is TensorFlow's: `options.experimental_distribute.auto_shard_policy = AutoShardPolicy.OFF`, as
    `data.load` sets it for data that are read in shares.
    """
    import tensorflow as tf

    policy = dataset.options().experimental_distribute.auto_shard_policy
    return policy == tf.data.experimental.AutoShardPolicy.OFF


def own_part(batch_size, share):
    """What a worker that holds its own share of the examples reads a step: `(its batch size, its share of that)`.

    Raises:
        ValueError: when the batch does not divide by the workers.

    Example:

    >>> own_part(64, (2, 4, 8))
    (16, (0, 2, 2))
    """
    here = share[1] - share[0]
    workers = share[2] // here
    if batch_size % workers:
        raise ValueError(
            f"batch_size counts over all workers, and each reads its own share of the examples: it must divide by "
            f"{workers}. Received {batch_size}."
        )
    return batch_size // workers, (0, here, here)
