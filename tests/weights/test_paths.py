import keras
import numpy as np
import pytest

from tftransfer.weights.paths import slots, variable_paths


def nested():
    trunk = keras.Sequential([keras.Input((4, 6)), keras.layers.Dense(6, name="first")], name="trunk")
    inputs = keras.Input((4, 6))
    x = trunk(inputs)
    x = keras.layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    x = keras.layers.Dropout(0.1)(x)
    x = keras.layers.LSTM(5, name="memory")(x)
    return keras.Model(inputs, keras.layers.BatchNormalization(name="norm")(x))


def test_paths_follow_the_nesting():
    paths = variable_paths(nested())
    assert list(paths)[:3] == ["trunk/first/kernel", "trunk/first/bias", "attention/query/kernel"]
    assert "memory/lstm_cell/recurrent_kernel" in paths
    assert list(paths)[-4:] == ["norm/gamma", "norm/beta", "norm/moving_mean", "norm/moving_variance"]
    assert not any("seed" in path for path in paths)
    assert paths["trunk/first/kernel"].shape == (6, 6)


def test_paths_are_stable_when_frozen_renamed_and_reloaded(tmp_path):
    model = nested()
    before = list(variable_paths(model))
    model.get_layer("trunk").trainable = False
    assert list(variable_paths(model)) == before
    model.save(tmp_path / "m.keras")
    assert list(variable_paths(keras.models.load_model(tmp_path / "m.keras"))) == before
    outer = keras.Sequential([keras.Input((4, 6)), model])
    assert list(variable_paths(outer)) == [f"{model.name}/{path}" for path in before]


def test_shared_layer_is_named_once():
    dense = keras.layers.Dense(3, name="shared")
    a, b = keras.Input((3,)), keras.Input((3,))
    model = keras.Model([a, b], keras.layers.Add()([dense(a), dense(dense(b))]))
    assert list(variable_paths(model)) == ["shared/kernel", "shared/bias"]


def test_equal_names_inside_a_custom_layer_stay_apart():
    class Twins(keras.layers.Layer):
        def __init__(self):
            super().__init__(name="twins")
            self.parts = [keras.layers.Dense(2, name="part"), keras.layers.Dense(2, name="part")]

        def build(self, shape):
            for part in self.parts:
                part.build(shape)

        def call(self, x):
            return self.parts[1](self.parts[0](x))

    model = keras.Sequential([keras.Input((2,)), Twins()])
    paths = list(variable_paths(model))
    assert paths == ["twins/part/kernel", "twins/part/bias", "twins/part:2/kernel", "twins/part:2/bias"]


def test_indices_are_the_ones_of_the_file():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d")])
    assert [slot.index for slot in slots(model)] == [0, 1]
    model.get_layer("d").enable_lora(1)
    assert {slot.name: slot.index for slot in slots(model)} == {
        "kernel": None, "bias": 1, "lora_kernel_a": None, "lora_kernel_b": None,
    }  # fmt: skip


def test_values_can_be_assigned_through_paths():
    model = nested()
    for variable in variable_paths(model).values():
        variable.assign(np.ones(variable.shape))
    assert all((np.asarray(w) == 1).all() for w in model.get_weights())


@pytest.mark.parametrize("wrong", [None, "file.weights.h5", keras.Sequential([keras.layers.Dense(2)])])
def test_no_model_or_not_built(wrong):
    with pytest.raises(ValueError, match=r"not built|Expected a keras"):
        variable_paths(wrong)
