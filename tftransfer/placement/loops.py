"""The compiled function that runs `steps_per_execution` steps on all replicas of a `tf.distribute` strategy.

Stock Keras 3 cannot: several steps per execution fail under MirroredStrategy, and `fit` under
MultiWorkerMirroredStrategy reduces scalar logs along an axis that they do not have (keras issue 20585).
"""

import keras

__all__ = ["on_all_replicas"]


def _pack(logs):
    """A nest of logs as one float32 vector, so that replicas meet once for all of them."""
    return keras.ops.concatenate(
        [keras.ops.reshape(keras.ops.cast(v, "float32"), (-1,)) for v in keras.tree.flatten(logs)]
    )


def _unpack(vector, logs):
    flat, start = [], 0
    for like in keras.tree.flatten(logs):
        size = like.shape.num_elements()
        flat.append(keras.ops.reshape(vector[start : start + size], like.shape))
        start += size
    return keras.tree.pack_sequence_as(logs, flat)


def on_all_replicas(model, step):
    """A function of an iterator for Keras's `fit` and `evaluate`.

    Args:
        model: the model, for its strategy, `steps_per_execution` and `run_eagerly`.
        step: function of one replica's batch that returns its logs.

    Returns:
        Function that takes the iterator of a distributed dataset (or of plain batches) forward by at most
        `steps_per_execution` steps and returns the logs of the last one, averaged over all replicas.
    """
    import tensorflow as tf

    strategy, steps = model.distribute_strategy, model.steps_per_execution
    form = {}  # the logs' structure, noted while tracing

    def replica_step(data):
        data = keras.tree.map_structure(lambda v: None if isinstance(v, tf.experimental.Optional) else v, data)
        logs = step(data)
        form["logs"] = keras.tree.map_structure(lambda v: tf.TensorSpec(v.shape, "float32"), logs)
        return _pack(logs)

    @tf.autograph.experimental.do_not_convert
    def one_step(data):
        return strategy.reduce("MEAN", strategy.run(replica_step, args=(data,)), axis=None)

    if not model.run_eagerly:
        one_step = tf.function(one_step, reduce_retracing=True)

    @tf.autograph.experimental.do_not_convert
    def many_steps(iterator):
        packed = one_step(iterator.get_next())  # raises OutOfRangeError at the end, which Keras expects
        if steps == 1:
            return packed

        def unfinished(done, batch, _):
            return tf.logical_and(done < steps, batch.has_value())

        def one_more(done, batch, _):
            packed = one_step(batch.get_value())
            following = tf.cond(done + 1 < steps, iterator.get_next_as_optional, lambda: batch)
            return done + 1, following, packed

        return tf.while_loop(unfinished, one_more, (1, iterator.get_next_as_optional(), packed))[-1]

    if not model.run_eagerly:
        many_steps = tf.function(many_steps, reduce_retracing=True)

    def function(iterator):
        if isinstance(iterator, (tf.data.Iterator, tf.distribute.DistributedIterator)):
            packed = many_steps(iterator)
        else:  # train_on_batch: every replica sees the batch
            for _, data in zip(range(steps), iterator, strict=False):
                packed = one_step(data)
        return _unpack(packed, form["logs"])

    return function
