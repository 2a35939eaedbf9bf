"""One training and one test step of a replica, exact also where replicas hold different numbers of examples.

`tf.distribute` splits a last batch of 9 over two replicas of a batch of 16 into 8 and 1, and one of 5 into 5 and 0;
stock Keras then averages the two means, so that one example weighs as much as eight, and zero examples give NaN.
"""

import contextlib

import keras

from tftransfer.placement.noise import batch_of_this_step
from tftransfer.placement.replicas import replicas, rows_before_and_total, same_on_all_replicas

__all__ = ["test_step", "train_step"]


def _rows(x):
    first = next(leaf for leaf in keras.tree.flatten(x) if leaf is not None)
    return keras.ops.shape(first)[0]


def _share_of_batch(loss, rows, total):
    """`loss` (mean over `rows` / replicas) weighed so that the sum over replicas is the mean over the global batch."""
    if same_on_all_replicas(rows):
        return loss
    weight = keras.ops.cast(rows * replicas(), loss.dtype) / keras.ops.cast(total, loss.dtype)
    return loss * weight


def _forward(model, data, training):
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    rows = _rows(x)
    total, noise = rows, contextlib.nullcontext()
    if training:
        before, total = rows_before_and_total(rows)
        noise = batch_of_this_step(rows, before, total)
    with noise:
        y_pred = model(x, training=training) if model._call_has_training_arg else model(x)
        loss = model.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
    if not same_on_all_replicas(rows):
        loss = keras.ops.where(rows > 0, loss, keras.ops.zeros_like(loss))
    model._loss_tracker.update_state(loss * replicas(), sample_weight=rows)
    return loss, rows, total, (x, y, y_pred, sample_weight)


def train_step(model, data):
    """Forward, backward and update of one replica; returns its metrics."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss, rows, total, batch = _forward(model, data, training=True)
        loss = model.optimizer.scale_loss(_share_of_batch(loss, rows, total))
    variables = model.trainable_variables
    model.optimizer.apply(tape.gradient(loss, variables), variables)
    return model.compute_metrics(*batch)


def test_step(model, data):
    """Forward of one replica without training; returns its metrics."""
    *_, batch = _forward(model, data, training=False)
    return model.compute_metrics(*batch)


test_step.__test__ = False  # a step, not a test to be collected
