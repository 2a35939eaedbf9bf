"""What is computed again on the way back has the same gradients."""

import keras
import numpy as np
import pytest
from keras import ops

from tftransfer.placement import remat


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX's own is used")
def test_gradients_are_those_of_the_function_and_further_results_have_none():
    import tensorflow as tf

    def function(x, w):
        return ops.tanh(ops.matmul(x, w)), ops.mean(x)

    draw = np.random.default_rng(0)
    x, w = (tf.constant(draw.normal(size=size), "float32") for size in ((4, 3), (3, 2)))
    found = []
    for again in (function, remat(function)):
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            y, mean = again(x, w)
            loss = tf.reduce_sum(y**3)
        found.append([y, mean, *tape.gradient(loss, [x, w])])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX's own is used")
def test_each_is_one_call_that_the_graph_optimizer_leaves_whole():
    import tensorflow as tf

    @tf.function(autograph=False)
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = remat(ops.tanh)(remat(ops.square)(x))
        return tape.gradient(y, x)

    graph = gradient.get_concrete_function(tf.TensorSpec(())).graph
    definitions = {f.signature.name: f for f in graph.as_graph_def().library.function}
    calls = [o for o in graph.get_operations() if o.type in ("PartitionedCall", "StatefulPartitionedCall")]
    assert len(calls) == 2
    assert all(definitions[call.get_attr("f").name].attr["_noinline"].b for call in calls)
    assert float(gradient(tf.constant(0.5))) == pytest.approx(float(1 / np.cosh(0.25) ** 2), rel=1e-5)
