"""GELU against Keras's, and its derivative against differences in float64."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from tftransfer.layers.gelu import gelu

x = np.linspace(-6, 6, 97)


@pytest.mark.compute
def test_it_is_keras_gelu():
    x32 = x.astype("float32")
    np.testing.assert_allclose(
        ops.convert_to_numpy(gelu(x32)), ops.convert_to_numpy(ops.gelu(x32, approximate=False)), atol=2e-6
    )


def exact(x):
    return np.array([v * 0.5 * math.erfc(-v / math.sqrt(2)) for v in x])


@pytest.mark.compute
def test_its_derivative():
    step = 1e-5
    wanted = (exact(x + step) - exact(x - step)) / (2 * step)
    np.testing.assert_allclose(slope(x.astype("float32")), wanted, atol=3e-6)


def slope(x):
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(lambda x: ops.sum(gelu(x)))(x))
    import tensorflow as tf

    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(gelu(x))
    return tape.gradient(y, x).numpy()


def test_half_precision_stays_in_its_type():
    assert gelu(ops.ones((2,), "bfloat16")).dtype == ops.ones((2,), "bfloat16").dtype
