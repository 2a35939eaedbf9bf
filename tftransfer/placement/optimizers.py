"""Gradients are summed over the replicas before the optimizer looks at them."""

import functools
import types

import keras

__all__ = ["reduce_gradients_first"]


def reduce_gradients_first(optimizer):
    """Makes a Keras optimizer sum gradients over replicas first, and clip, check and apply the sum.

    Stock Keras clips each replica's own gradient and sums afterwards (measured on two replicas: updates 0.914 of one
    device's with `clipnorm`, 1.156 with `global_clipnorm`), and its `LossScaleOptimizer` asks replica 0 alone whether
    a gradient overflowed (an overflow elsewhere makes the weights non-finite). The sum is taken once, here, so the
    bytes sent do not grow. The instance is changed, not its class, so that it saves and loads as what it is. Gradients
    that are accumulated over several batches are summed with each batch.

    Args:
        optimizer: any `keras.optimizers.Optimizer`, also one that wraps others; changed once however often called.

    Raises:
        ValueError: if the optimizer overwrites the weights with their average every few steps, or accumulates gradients
            in a way of its own.
    """
    if getattr(optimizer, "_gradients_reduced_first", False):
        return
    parts = list(_with_inner(optimizer))
    for part in parts:
        if getattr(part, "ema_overwrite_frequency", None):
            _refuse(part, "ema_overwrite_frequency", "Leave it out, or train on one device.")
        if getattr(part, "gradient_accumulation_steps", None):
            if len(parts) > 1 or not _updates_one_by_one(part):
                hint = (
                    "A larger batch or more replicas do the same; or take SGD or Adam, alone and in float32."
                )
                _refuse(part, "gradient_accumulation_steps", hint)
            part._backend_apply_gradients = types.MethodType(_accumulate, part)
    for part in parts:
        part._all_reduce_sum_gradients = list  # (gradient, variable) pairs, which already hold the sum
    stock_apply = optimizer.apply

    def apply(grads, trainable_variables=None):
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        grads = list(grads)
        present = [g for g in grads if g is not None]
        if context is not None and context.num_replicas_in_sync > 1 and present:
            summed = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, present))
            grads = [None if g is None else next(summed) for g in grads]
        return stock_apply(grads, trainable_variables)

    optimizer.apply = apply
    optimizer._gradients_reduced_first = True


def _refuse(part, option, hint):
    raise ValueError(
        f"{option} does not work on several replicas with this optimizer: Keras acts on it inside a condition, where "
        f"replicas cannot meet. Received: {type(part).__name__} with {option}={getattr(part, option)}. {hint}"
    )


def _updates_one_by_one(part):
    """Whether an update is no more than Keras's weight decay, or none, and `update_step` for each variable."""
    stock = keras.optimizers.SGD
    decay = type(part)._apply_weight_decay
    known = decay is stock._apply_weight_decay or decay.__module__.startswith("tftransfer.")
    return known and type(part)._backend_update_step is stock._backend_update_step


def _accumulate(self, grads, trainable_variables):
    """Keras's `_backend_apply_gradients`, with the condition inside the update of each variable on each device.

    `grads` hold the sums over the replicas already.
    """
    import tensorflow as tf

    steps, rate = self.gradient_accumulation_steps, self.learning_rate
    kept = [self._accumulated_gradients[self._get_variable_index(v)] for v in trainable_variables]
    due = (tf.convert_to_tensor(self._iterations) + 1) % steps == 0
    sums = [tf.convert_to_tensor(g) + tf.convert_to_tensor(k) for g, k in zip(grads, kept, strict=True)]
    means = self._clip_gradients([s / steps for s in sums])
    decayed = self.weight_decay and type(self)._apply_weight_decay is keras.optimizers.SGD._apply_weight_decay

    def keep(kept, sum_, due):
        kept.assign(tf.where(due, tf.zeros_like(sum_), sum_))

    def move(variable, mean, due, rate, decays):
        def now():
            if decays:
                factor = tf.cast(self.weight_decay, variable.dtype) * tf.cast(rate, variable.dtype)
                variable.assign_sub(variable * factor)
            self.update_step(mean, variable, rate)
            return tf.constant(True)

        tf.cond(due, now, lambda: tf.constant(False))

    def together(strategy, means, sums, due, rate):
        update = strategy.extended.update
        for variable, accumulator, mean, sum_ in zip(trainable_variables, kept, means, sums, strict=True):
            decays = bool(decayed and self._use_weight_decay(variable))
            update(
                variable.value, functools.partial(move, decays=decays), args=(mean, due, rate), group=False
            )
            update(accumulator.value, keep, args=(sum_, due), group=False)

    tf.distribute.get_replica_context().merge_call(together, args=(means, sums, due, rate))
    if self.use_ema:
        self._update_model_variables_moving_average(self._trainable_variables)


def _with_inner(optimizer):
    """The optimizer and every optimizer that it holds (loss scaling, one per group of variables)."""
    yield optimizer
    for value in list(vars(optimizer).values()):
        for inner in keras.tree.flatten(value) if isinstance(value, (list, tuple, dict)) else [value]:
            if isinstance(inner, keras.optimizers.Optimizer) and inner is not optimizer:
                yield from _with_inner(inner)
