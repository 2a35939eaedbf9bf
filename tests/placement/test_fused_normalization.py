"""Normalization by few kernels: Keras's numbers, gradients and moving statistics."""

import copy

import keras
import numpy as np
import pytest

from tftransfer import placement
from tftransfer.placement import fuse_batch_normalization, fuse_layer_normalization, kernels

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the kernel is TensorFlow's")
x = np.random.default_rng(0).normal(2.0, 3.0, (8, 5, 5, 4)).astype("float32")


def layer(**settings):
    made = keras.layers.BatchNormalization(momentum=0.8, **settings)
    made.build(x.shape)
    for i, variable in enumerate(made.weights):
        variable.assign(np.random.default_rng(i).random(variable.shape) + 0.5)
    return made


def model_of(made):
    inputs = keras.Input(x.shape[1:])
    return keras.Model(inputs, made(inputs))


def step(made, training=True):
    import tensorflow as tf

    given = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(given)
        y = made(given, training=training)
        loss = tf.reduce_sum(tf.sin(y))
    gradients = tape.gradient(loss, [given, made.gamma.value, made.beta.value])
    return [y, *gradients, *made.get_weights()]


@pytest.mark.parametrize("training", [True, False])
def test_numbers_gradients_and_statistics_are_those_of_keras(training):
    stock, fused = layer(), layer()
    fuse_batch_normalization(model_of(fused))
    assert "call" in vars(fused)
    for a, b in zip(step(stock, training), step(fused, training), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-5, atol=2e-5)


def test_frozen_it_does_not_move():
    fused = layer()
    fuse_batch_normalization(model_of(fused))
    fused.trainable = False
    before = fused.get_weights()
    fused(x, training=True)
    for a, b in zip(before, fused.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "settings",
    [{"scale": False}, {"center": False}, {"epsilon": 1e-6}, {"axis": 1}, {"dtype": "mixed_bfloat16"}],
)
def test_what_the_kernel_does_not_share_stays_keras(settings):
    made = layer(**settings)
    fuse_batch_normalization(model_of(made))
    assert "call" not in vars(made)


def test_a_fit_fuses_and_the_file_is_plain_keras(tmp_path):
    class Mean(placement.PlacedModel):
        def __init__(self):
            super().__init__()
            self.body = model_of(keras.layers.BatchNormalization(momentum=0.8, name="norm"))

        def call(self, x, training=False):
            return self.body(x, training=training)

    mine = Mean()
    mine.compile("sgd", "mse")
    mine.fit(x, x, batch_size=4, verbose=0)
    assert "call" in vars(mine.body.get_layer("norm"))
    mine.body.save(tmp_path / "body.keras")
    again = keras.models.load_model(tmp_path / "body.keras")
    assert type(again.get_layer("norm")) is keras.layers.BatchNormalization
    assert "call" not in vars(again.get_layer("norm"))
    np.testing.assert_allclose(again.predict(x, verbose=0), mine.body.predict(x, verbose=0), atol=1e-6)
    twin = copy.deepcopy(mine.body.get_layer("norm"))
    twin(x, training=True)
    assert not np.allclose(twin.moving_mean, mine.body.get_layer("norm").moving_mean)


wide = np.random.default_rng(1).normal(1.0, 2.0, (64, 64, 64)).astype("float32")  # 262,144 values


def layer_norm(**settings):
    made = keras.layers.LayerNormalization(**settings)
    made.build(wide.shape)
    for i, variable in enumerate(made.weights):
        variable.assign(np.random.default_rng(i).random(variable.shape) + 0.5)
    return made


def in_a_graph(made):
    import tensorflow as tf

    @tf.function
    def run(given):
        with tf.GradientTape() as tape:
            tape.watch(given)
            y = made(given)
            loss = tf.reduce_mean(tf.sin(y))
        return [y, *tape.gradient(loss, [given, made.gamma.value, made.beta.value])]

    with kernels.in_a_training_step():
        return run(tf.constant(wide))


@pytest.mark.parametrize("epsilon", [1e-3, 1e-12])
def test_layer_normalization_is_that_of_keras(epsilon, monkeypatch):
    compiled, stock_compiled = [], kernels._compiled
    monkeypatch.setattr(kernels, "_compiled", lambda f: compiled.append(f.__name__) or stock_compiled(f))
    stock, fused = layer_norm(epsilon=epsilon), layer_norm(epsilon=epsilon)
    fuse_layer_normalization(keras.Sequential([keras.Input(wide.shape[1:]), fused]))
    for a, b in zip(in_a_graph(stock), in_a_graph(fused), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=2e-5, atol=2e-6)
    assert compiled == ["forth", "back"]


@pytest.mark.parametrize("settings", [{"scale": False}, {"center": False}, {"axis": 1}])
def test_other_layer_normalization_stays_keras(settings):
    made = keras.layers.LayerNormalization(**settings)
    fuse_layer_normalization(keras.Sequential([keras.Input((4, 8)), made]))
    assert "call" not in vars(made)
