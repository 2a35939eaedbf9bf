"""The compiled function that runs `steps_per_execution` steps on every replica, one or many, on TensorFlow.

Stock Keras 3 is off here: several steps per execution fail under MirroredStrategy; `fit` under
MultiWorkerMirroredStrategy reduces scalar logs along an axis that they do not have (keras issue 20585); and, on one
device too, a data set that does not know its length ends each epoch with part of a step without data, which moves
`optimizer.iterations` and every random state on (measured: 10 updates for 9 batches).
"""

import keras

__all__ = ["steps_function", "traced_anew"]


def _pack(logs):
    """A nest of logs as one float32 vector, so that replicas meet once for all of them."""
    return keras.ops.concatenate(
        [keras.ops.reshape(keras.ops.cast(v, "float32"), (-1,)) for v in keras.tree.flatten(logs)]
    )


def _unpack(vector, logs):
    wanted = sum(like.shape.num_elements() for like in keras.tree.flatten(logs))
    missing = wanted - keras.ops.shape(vector)[0]  # all, where there was no step
    vector = keras.ops.pad(vector, ((0, missing),))
    flat, start = [], 0
    for like in keras.tree.flatten(logs):
        size = like.shape.num_elements()
        flat.append(keras.ops.reshape(vector[start : start + size], like.shape))
        start += size
    return keras.tree.pack_sequence_as(logs, flat)


def traced_anew(function):
    """Marks a `tf.function` that every model and every stage makes for itself, and returns it.

    TensorFlow counts traces by line of code: it would take those of several models, or of the stages of one, for
    one function that is traced again and again, and warn.
    """
    if hasattr(function, "_omit_frequent_tracing_warning"):
        function._omit_frequent_tracing_warning = True
    return function


def steps_function(model, step):
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

    def absent_as_none(value):  # how tf.data spells a sample weight that is not there
        return None if isinstance(value, tf.experimental.Optional) else value

    def replica_step(data):
        logs = step(keras.tree.map_structure(absent_as_none, data))
        logs = keras.tree.map_structure(tf.convert_to_tensor, logs)  # run eagerly, some are plain numbers
        form["logs"] = keras.tree.map_structure(lambda v: tf.TensorSpec(v.shape, "float32"), logs)
        return _pack(logs)

    @tf.autograph.experimental.do_not_convert
    def one_step(data):
        return strategy.reduce("MEAN", strategy.run(replica_step, args=(data,)), axis=None)

    if not model.run_eagerly:
        alone = strategy.num_replicas_in_sync == 1 and not _several_machines(strategy)
        xla = alone and bool(model.jit_compile)
        one_step = traced_anew(tf.function(one_step, reduce_retracing=True, jit_compile=xla))

    @tf.autograph.experimental.do_not_convert
    def advance(iterator, limit):
        """At most `limit` steps; whether there was one at all, and the logs of the last.

        The end is asked for, never run into: a step cut short by the end of the data has moved random states on.
        """
        batch, nothing = iterator.get_next_as_optional(), tf.zeros((0,))
        found = batch.has_value()

        def unfinished(done, batch, _):
            return tf.logical_and(done < limit, batch.has_value())

        def one_more(done, batch, _):
            packed = one_step(batch.get_value())
            if limit > 1:
                batch = tf.cond(done + 1 < limit, iterator.get_next_as_optional, lambda: batch)
            return done + 1, batch, packed

        start, shapes = (tf.constant(0), batch, nothing), (tf.TensorShape(()), None, tf.TensorShape((None,)))
        # a loop even for one step, as tf.cond fails on the batches of several replicas; one iteration at a time,
        # else workers could meet with the rows of different test steps
        *_, packed = tf.while_loop(unfinished, one_more, start, shapes, parallel_iterations=1)
        return found, _unpack(packed, form["logs"]) if form else {}  # {}: eagerly, and no data at all

    if not model.run_eagerly:
        advance = traced_anew(tf.function(advance, reduce_retracing=True))

    def function(iterator):
        if not isinstance(iterator, (tf.data.Iterator, tf.distribute.DistributedIterator)):
            for _, data in zip(range(steps), iterator, strict=False):  # train_on_batch: one batch for all
                packed = one_step(data)
            return _unpack(packed, form["logs"])
        in_one_call = steps if _one_call_serves(strategy, iterator) else 1
        logs = None
        for _ in range(0, steps, in_one_call):
            found, latest = advance(iterator, in_one_call)
            if not found:
                break
            logs = latest
        if logs is None:
            raise StopIteration
        return logs

    return function


def _one_call_serves(strategy, iterator):
    """Whether several steps may run in one call of a compiled function.

    Not on several machines with batches of unknown size: within one call TensorFlow lets workers meet at one place
    with tensors of one shape only, and the gathers of a smaller last batch would fail.
    """
    if not _several_machines(strategy):
        return True
    import tensorflow as tf

    specs = tf.nest.flatten(iterator.element_spec, expand_composites=True)
    return all(spec.shape.rank and spec.shape[0] is not None for spec in specs)


def _several_machines(strategy):
    import tensorflow as tf

    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
