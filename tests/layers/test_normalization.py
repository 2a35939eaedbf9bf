import keras
import numpy as np
import pytest

from tftransfer.layers import batch_normalization


def test_settings():
    layer = batch_normalization("stem_norm")
    assert type(layer) is keras.layers.BatchNormalization
    assert (layer.name, layer.momentum, layer.epsilon, layer.synchronized) == ("stem_norm", 0.9, 1e-5, False)
    assert batch_normalization("n", epsilon=1e-3).epsilon == 1e-3


@pytest.mark.compute
def test_statistics_converge_in_a_short_run():
    layer = batch_normalization("norm")
    x = np.random.default_rng(0).normal(3.0, 2.0, size=(512, 4)).astype("float32")
    for _ in range(60):
        layer(x, training=True)
    np.testing.assert_allclose(np.asarray(layer.moving_mean), x.mean(0), rtol=0.01)
    np.testing.assert_allclose(np.asarray(layer.moving_variance), x.var(0), rtol=0.01)
    training, inference = np.asarray(layer(x, training=True)), np.asarray(layer(x, training=False))
    np.testing.assert_allclose(training, (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5), atol=1e-4)
    np.testing.assert_allclose(training, inference, atol=0.02)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute strategies")
def test_synchronized_under_replicas():
    import tensorflow as tf

    from tftransfer import placement

    cpus = [device.name.replace("/physical_device:", "") for device in tf.config.list_logical_devices("CPU")]
    if len(cpus) < 2:
        pytest.skip("needs two logical devices")
    with placement.strategy("mirrored").scope():
        assert placement.replicas() == 2
        layer = batch_normalization("norm")
    assert layer.synchronized
    assert not batch_normalization("norm").synchronized
