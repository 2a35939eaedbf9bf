import keras
import numpy as np
import pytest

from tftransfer.weights.config import config_of, rebuild


def build():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu", kernel_regularizer="l2", name="stem")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.ops.mean(x, axis=(1, 2)) * 2.0  # operations, not layers
    return keras.Model(inputs, x, name="encoder")


@pytest.mark.compute
def test_a_rebuilt_model_computes_the_same():
    model = build()
    model.compile("adam", "mse")
    config = config_of(model)
    assert "compile_config" not in config
    other = rebuild(config, "the file", parameters=model.count_params())
    other.set_weights(model.get_weights())
    x = np.ones((1, 8, 8, 3), "float32")
    np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(m(x)) for m in (model, other)))
    assert not other.compiled


def test_sizes_are_looked_at_before_memory_is_taken():
    config = config_of(keras.Sequential([keras.Input((10**6,)), keras.layers.Dense(2, name="d")]))
    config["config"]["layers"][1]["config"]["units"] = 10**9
    with pytest.raises(ValueError, match="asks for 1000001000000000 parameters"):
        rebuild(config, "the file", parameters=8)
    assert build().get_weights()  # nothing stays behind in Keras


def test_a_layer_that_needs_values_while_it_is_built():
    @keras.saving.register_keras_serializable(package="test_config")
    class Eager(keras.layers.Layer):
        def build(self, shape):
            self.scale = keras.Variable(np.ones(shape[-1:], "float32"), name="scale")

        def call(self, x):
            return x * self.scale

    model = keras.Sequential([keras.Input((3,)), Eager()])
    assert rebuild(config_of(model), "the file", parameters=3).count_params() == 3


def test_what_is_no_model():
    config = keras.saving.serialize_keras_object(keras.layers.Dense(2))
    with pytest.raises(ValueError, match="describes a Dense"):
        rebuild(config, "the file", parameters=8)


def test_batch_normalization_is_adapted_to_where_it_runs():
    config = config_of(build())
    layer = next(c for c in config["config"]["layers"] if c["class_name"] == "BatchNormalization")
    layer["config"]["synchronized"] = True  # as a file from several replicas has it
    assert rebuild(config, "the file", parameters=10**4).get_layer("norm").synchronized is False
