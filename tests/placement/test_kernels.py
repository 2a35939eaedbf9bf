"""One kernel for many operations: the same numbers, only where it pays."""

import keras
import numpy as np
import pytest
from keras import ops

from tftransfer import placement
from tftransfer.layers.gelu import gelu
from tftransfer.placement import kernels

WIDE = np.random.default_rng(0).normal(size=(64, 32, 128)).astype("float32")  # 262,144 values
tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="XLA inside TensorFlow's graphs"
)


@pytest.mark.compute
def test_eager_calls_and_other_backends_get_the_function_as_it_is(compiled):
    double = placement.one_kernel(lambda x: 2 * x)
    np.testing.assert_array_equal(ops.convert_to_numpy(double(ops.convert_to_tensor(WIDE))), 2 * WIDE)
    assert compiled == []


@tensorflow_only
@pytest.mark.parametrize("kind", ["wide", "open batch", "small", "open", "half", "replicas"])
def test_compiles_where_it_pays(kind, compiled):
    import tensorflow as tf

    @placement.one_kernel
    def curve(x):
        return ops.exp(-ops.square(x)) + x

    x = WIDE[:1] if kind == "small" else WIDE
    dtype = "float16" if kind == "half" else "float32"
    shape = {"open": (64, None, 128), "open batch": (None, 128, 128)}.get(kind, x.shape)
    x = x.reshape(16, 128, 128) if kind == "open batch" else x
    graph = tf.function(curve, input_signature=[tf.TensorSpec(shape, dtype)])
    strategy = placement.strategy("mirrored" if kind == "replicas" else "cpu", verbose=False)
    with strategy.scope(), kernels.in_a_training_step():
        found = graph(tf.constant(x, dtype))
    np.testing.assert_allclose(found, np.exp(-(x**2)) + x, rtol=1e-5, atol=2e-3 if kind == "half" else 1e-6)
    assert compiled == (["curve"] if kind in ("wide", "open batch") else [])


@tensorflow_only
@pytest.mark.parametrize("outer", [False, True], ids=["graph", "XLA around it"])
def test_gelu_and_its_gradient(compiled, outer):
    import tensorflow as tf

    def both(function):
        @tf.function(jit_compile=outer)
        def run(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = function(x)
                loss = tf.reduce_sum(tf.sin(y))
            return y, tape.gradient(loss, x)

        with kernels.in_a_training_step():
            return run(tf.constant(WIDE))

    for mine, keras_own in zip(both(gelu), both(keras.activations.gelu), strict=True):
        np.testing.assert_allclose(mine, keras_own, rtol=1e-5, atol=2e-6)
    assert compiled == ["_forth", "_back"]


@tensorflow_only
def test_training_steps_alone_compile(compiled, tmp_path):
    """Prediction comes in batches of many sizes, and what is exported runs where XLA may not be."""
    import tensorflow as tf

    class Wide(placement.PlacedModel):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(2048, activation=gelu)
            self.norm = keras.layers.LayerNormalization()

        def call(self, x):
            return self.norm(self.dense(x))

    model, x = Wide(), WIDE.reshape(-1, 128)
    model.compile("sgd", "mse", jit_compile=False)
    assert np.isfinite(model.train_on_batch(x[:128], np.zeros((128, 2048), "float32")))
    assert {"_back", "_forth"} <= set(compiled)  # before the first step the norm was not built yet
    compiled.clear()
    expected = model.predict(x[:160], batch_size=160, verbose=0)
    model.export(tmp_path / "model", verbose=False)
    served = tf.saved_model.load(tmp_path / "model")
    np.testing.assert_allclose(served.serve(x[:160]), expected, atol=1e-5)
    assert compiled == []
