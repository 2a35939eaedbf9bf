"""What runs inside a replica: how many there are, which one this is, and rows that cross their borders."""

import threading

import keras

__all__ = ["all_gather", "per_example", "replica_id", "replicas", "rows_before_and_total"]

_drawing = threading.local()  # TensorFlow traces each replica in a thread of its own


def replica_context():
    """The running `tf.distribute` replica context where there is more than one replica, else None."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()  # None inside `strategy.scope()` but outside a step
    return context if context is not None and context.num_replicas_in_sync > 1 else None


def replicas():
    """Number of replicas of the strategy now in scope, or of the step that is running.

    1 on one device, and 1 on JAX, where a step sees the whole global batch however many devices share it.

    Example:
        >>> import tftransfer as tt
        >>> tt.placement.replicas()
        1
    """
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def replica_id():
    """Which replica runs this step: 0 on one device, on JAX and while a model is built, else an int32 scalar.

    Replica `r` holds the `r`-th share of the rows of the global batch.

    Example:
        >>> import tftransfer as tt
        >>> tt.placement.replica_id()
        0
    """
    context = replica_context()
    if context is None:
        return 0
    import tensorflow as tf

    return tf.cast(tf.convert_to_tensor(context.replica_id_in_sync_group), "int32")


def same_on_all_replicas(rows):
    """Whether a number of rows is the same on every replica: on one, and where a compiled step knows it beforehand.

    Else the last batch of an epoch may be split unevenly.
    """
    context = replica_context()
    if context is None:
        return True
    import tensorflow as tf

    return isinstance(rows, int) and not tf.executing_eagerly()


def rows_before_and_total(rows):
    """Where this replica's `rows` begin in the global batch, and how many rows that has: `(before, total)`.

    Costs nothing where the number is known to be the same on every replica; else it is gathered from all. A loss that
    compares own rows with gathered ones finds its own among them from `before` on; `replica_id() * rows` is right
    only where all replicas hold equally many.

    Args:
        rows: number of rows of this replica, `ops.shape(x)[0]`.

    Example:
        >>> import tftransfer as tt
        >>> tt.placement.rows_before_and_total(8)
        (0, 8)
    """
    context = replica_context()
    if context is None:
        return 0, rows
    if same_on_all_replicas(rows):
        return replica_id() * rows, context.num_replicas_in_sync * rows
    import tensorflow as tf

    counts = context.all_gather(tf.reshape(tf.cast(rows, "int32"), (1,)), axis=0)  # (replicas,)
    return tf.reduce_sum(counts[: replica_id()]), tf.reduce_sum(counts)


def of_another_replica(tensor):
    """Whether a tensor was made by another replica of this process.

    Replicas are traced in turns, one going on where another waits for it (at a synchronized BatchNormalization, at a
    gather), but share every Python object, such as the list that `add_loss` appends to.
    """
    context = replica_context()
    if context is None:
        return False
    import tensorflow as tf

    others = {*tf.distribute.get_strategy().extended.worker_devices} - {*keras.tree.flatten(context.devices)}
    return getattr(tensor, "device", None) in others


def all_gather(x):
    """Rows of `x` from every replica, in the order of the global batch, with the exact gradient.

    For losses that compare examples with each other (contrastive negatives, batch statistics). With the loss of a
    replica being the mean over *its own* rows against the gathered ones, divided by `replicas()`
    (`PlacedModel.scale_loss`), the summed gradient is that of one device with the global batch. Gathering behind a
    stop-gradient, or with the gradient of the own rows only, is not (0.52 and 0.89 of it).

    Identity on one device, on JAX (the compiler sees the global batch) and while a model is built.

    Args:
        x: tensor `(rows, ...)`. Replicas may hold different numbers of rows.

    Returns:
        Tensor `(global rows, ...)`.

    Example:
        >>> import keras, tftransfer as tt
        >>> tt.placement.all_gather(keras.ops.ones((4, 2))).shape[0]
        4
    """
    context = replica_context()
    if context is None:
        return x
    gathered = context.all_gather(x, axis=0)
    if x.shape[0] is not None and same_on_all_replicas(x.shape[0]):
        gathered.set_shape((context.num_replicas_in_sync * x.shape[0], *x.shape[1:]))
    return gathered


def per_example(draw, batch):
    """Random numbers per example that do not depend on how many replicas share the batch.

    Every replica draws for the *global* batch from the same seed state and keeps the rows of its own examples, so
    that N replicas use the random numbers that one device would, and no two replicas the same ones. The seed must be
    a `keras.random.SeedGenerator` kept by a layer or model (its state then advances alike on every replica).

    Args:
        draw: function of a number of rows that returns a tensor (or a nest of tensors) with that many rows.
        batch: number of rows of this replica: `ops.shape(x)[0]`, an int where the shape is static.

    Returns:
        What `draw` returns, with `batch` rows.

    Example:
        >>> import keras, tftransfer as tt
        >>> seed = keras.random.SeedGenerator(0)
        >>> noise = tt.placement.per_example(lambda rows: keras.random.normal((rows, 3), seed=seed), 4)
        >>> tuple(noise.shape)
        (4, 3)
    """
    if replica_context() is None:
        return draw(batch)
    before, total = rows_before_and_total(batch)

    def own_rows(drawn):
        rest = len(drawn.shape) - 1
        return keras.ops.slice(drawn, (before, *[0] * rest), (batch, *keras.ops.shape(drawn)[1:]))

    outer, _drawing.for_all = drawing_for_all(), True
    try:
        drawn = draw(total)
    finally:
        _drawing.for_all = outer
    return keras.tree.map_structure(own_rows, drawn)


def drawing_for_all():
    """Whether a `per_example` draws just now, so that every replica must use the same seed."""
    return getattr(_drawing, "for_all", False)
