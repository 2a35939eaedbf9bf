"""Cross-entropy and accuracy of tokens by one kernel each way: the numbers of Keras's own operations."""

import keras
import numpy as np
import pytest

from tftransfer.layers import token_scores
from tftransfer.placement import kernels


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="XLA inside TensorFlow's graphs")
@pytest.mark.parametrize("counted", [np.ones((4, 16)), np.arange(64).reshape(4, 16) % 3])
def test_one_kernel_gives_the_same_scores_and_gradient(counted, compiled):
    import tensorflow as tf

    draw = np.random.default_rng(0)
    logits = draw.normal(size=(4, 16, 4096)).astype("float32")  # as many values as pay
    targets = np.where(counted > 0, draw.integers(0, 4096, (4, 16)), -1).astype("int32")
    logits[0, 0, targets[0, 0]] = 9  # right once

    @tf.function
    def both(logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            nats, right = token_scores(logits, targets)
            loss = tf.reduce_sum(nats * counted)
        return nats, right, tape.gradient(loss, logits)

    stock = both(tf.constant(logits))
    assert compiled == []
    both = tf.function(both.python_function)
    with kernels.in_a_training_step():
        fused = both(tf.constant(logits))
    assert len(compiled) == 2
    assert np.sum(stock[1]) == (counted[0, 0] > 0)
    for mine, its in zip(fused, stock, strict=True):
        np.testing.assert_allclose(mine, its, atol=2e-6)
