import json
import os

import h5py
import keras
import numpy as np
import pytest

from tftransfer.weights import describe, load_backbone, save_backbone, transfer_weights, variable_paths
from tftransfer.weights.record import checksum
from tftransfer.weights.seal import check_seal

# Keras's own writing of TensorFlow variables; pytest.warns brings it to light
ARRAYS = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
WARM_UP = keras.optimizers.schedules.CosineDecay(0.0, 10, warmup_target=0.02, warmup_steps=5)


def encoder(name="encoder"):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="stem")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, name="first")], name="trunk")
    return keras.Model(inputs, inner(x), name=name)


def test_the_file_is_plain_keras(tmp_path):
    model = encoder()
    path = save_backbone(model, tmp_path / "e.weights.h5")
    other = encoder()
    other.load_weights(path)
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_attribute_tells_everything(tmp_path):
    model = encoder()
    path = save_backbone(
        model,
        tmp_path / "e.weights.h5",
        objective={"name": "SimCLR", "config": {"temperature": 0.1}, "learning_rate": 1e-3},
        history={"loss": [np.float32(2.0), 1.0]},
        preprocessing={"image_size": (8, 8), "range": np.array([0, 1])},
        seed=np.int64(7),
    )
    with h5py.File(path) as file:
        found = json.loads(file.attrs["tftransfer"])
    assert found["backbone"]["config"]["name"] == "encoder"
    assert found["objective"] == {"name": "SimCLR", "config": {"temperature": 0.1}, "learning_rate": 1e-3}
    assert found["history"] == {"loss": [2.0, 1.0]}
    assert found["preprocessing"] == {"image_size": [8, 8], "range": [0, 1]}
    assert found["seed"] == 7
    assert {"keras", "numpy", "python", "tftransfer", "backend"} <= found["versions"].keys()
    assert found["created"].endswith("+00:00")
    paths = variable_paths(model)
    assert [row["path"] for row in found["manifest"]] == list(paths)
    for row in found["manifest"]:
        value = keras.ops.convert_to_numpy(paths[row["path"]])
        assert (tuple(row["shape"]), row["dtype"], row["checksum"]) == (
            value.shape,
            "float32",
            checksum(value),
        )
        with h5py.File(path) as file:
            np.testing.assert_array_equal(file[row["location"]][()], value)
    assert check_seal(path, "the file")


def test_an_objective_and_a_history_object_are_understood(tmp_path):
    class Objective(keras.layers.Layer):
        def __init__(self, backbone, temperature=0.5):
            super().__init__()
            self.backbone, self.temperature = backbone, temperature
            self.optimizer = keras.optimizers.Adam(WARM_UP)

        def get_config(self):
            return {"name": self.name, "backbone": self.backbone, "temperature": self.temperature}

    model = encoder()
    objective = Objective(model)
    objective.optimizer.build([])
    objective.optimizer.iterations.assign(15)
    history = keras.callbacks.History()
    history.history = {"loss": [1.0]}
    path = save_backbone(model, tmp_path / "e.weights.h5", objective=objective, history=history)
    found = describe(path)
    assert found.objective["name"] == "Objective" and found.objective["config"]["temperature"] == 0.5
    assert "backbone" not in found.objective["config"]
    assert found.objective["learning_rate"] == pytest.approx(0.02, rel=0.05)
    assert found.history == {"loss": [1.0]}


def test_training_state_stays_out(tmp_path):
    model = encoder()
    model.compile("adam", "mse")
    model.fit(np.ones((4, 8, 8, 3)), np.ones((4, 5)), verbose=0)
    path = save_backbone(model, tmp_path / "e.weights.h5")
    with h5py.File(path) as file:
        assert "optimizer" not in file
    encoder().load_weights(path)
    np.testing.assert_array_equal(load_backbone(path).get_weights()[0], model.get_weights()[0])
    assert model.optimizer.iterations == 1  # the model itself is as it was


@ARRAYS
def test_a_model_without_config_is_saved_with_a_warning(tmp_path):
    class Own(keras.Model):
        def __init__(self, units):
            super().__init__()
            self.dense = keras.layers.Dense(units, name="d")

        def call(self, x):
            return self.dense(x)

    model = Own(3)
    model(np.ones((1, 2)))
    with pytest.warns(UserWarning, match="load_backbone cannot rebuild"):
        path = save_backbone(model, tmp_path / "e.weights.h5")
    with pytest.raises(ValueError, match="transfer_weights"):
        load_backbone(path)
    other = Own(3)
    other(np.ones((1, 2)))
    transfer_weights(path, other).verify().assert_loaded()
    np.testing.assert_array_equal(other.get_weights()[0], model.get_weights()[0])


@ARRAYS
def test_a_lambda_is_saved_but_never_loaded(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), keras.layers.Lambda(lambda x: x)])
    with pytest.warns(UserWarning, match="carries code"):
        path = save_backbone(model, tmp_path / "e.weights.h5")
    assert not describe(path).self_describing


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "mixed_bfloat16"])
def test_other_types(tmp_path, dtype):
    keras.config.set_dtype_policy(dtype)
    try:
        model = encoder()
        path = save_backbone(model, tmp_path / "e.weights.h5")
        other, receipt = load_backbone(path, return_receipt=True)
    finally:
        keras.config.set_dtype_policy("float32")
    assert receipt.verify().percent_loaded == 100
    assert other.get_layer("stem").kernel.dtype == model.get_layer("stem").kernel.dtype
    np.testing.assert_array_equal(
        other.get_weights()[0].astype("float32"), model.get_weights()[0].astype("float32")
    )


def test_state_that_a_weights_file_cannot_hold(tmp_path):
    model = encoder()
    model.get_layer("trunk").get_layer("first").enable_lora(2)
    with pytest.raises(ValueError, match=r"trunk/first/kernel.*LoRA"):
        save_backbone(model, tmp_path / "e.weights.h5")
    empty = keras.Sequential([keras.Input((2,)), keras.layers.Flatten()])
    with pytest.raises(ValueError, match="no variables"):
        save_backbone(empty, tmp_path / "e.weights.h5")
    assert os.listdir(tmp_path) == []


def test_bad_arguments_come_before_any_work(tmp_path):
    model, path = encoder(), tmp_path / "e.weights.h5"
    for arguments in ({"preprocessing": {"f": open}}, {"history": {1: object()}}, {"seed": object()}):
        with pytest.raises(ValueError, match="cannot be kept"):
            save_backbone(model, path, **arguments)
    with pytest.raises(ValueError, match=r"must be named"):
        save_backbone(model, tmp_path / "e.h5")
    with pytest.raises(ValueError, match="not built"):
        save_backbone(keras.Sequential([keras.layers.Dense(2)]), path)
    with pytest.raises(ValueError, match=r"takes a keras\.Model"):
        save_backbone("model", path)
    with pytest.raises(OSError, match="Could not write"):
        save_backbone(model, "/proc/nowhere/e.weights.h5")
    assert os.listdir(tmp_path) == []


@keras.saving.register_keras_serializable(package="test_saving")
class Tied(keras.layers.Layer):
    """Multiplies by the kernel of a Dense layer in it, which both own."""

    def build(self, shape):
        self.dense = keras.layers.Dense(shape[-1], name="dense")
        self.dense.build(shape)
        self.kernel = self.dense.kernel

    def call(self, x):
        return keras.ops.matmul(self.dense(x), self.kernel)


def test_a_variable_that_two_layers_own(tmp_path):
    model = keras.Sequential([keras.Input((3,)), Tied()])
    assert list(variable_paths(model)) == ["tied/kernel", "tied/dense/bias"]
    path = save_backbone(model, tmp_path / "m.weights.h5")
    assert len(describe(path).variables) == 2
    other = load_backbone(path)
    x = np.ones((1, 3), "float32")
    np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(m(x)) for m in (model, other)))
    keras.models.clone_model(model).load_weights(path)


@ARRAYS
def test_state_that_is_no_variable(tmp_path):
    @keras.saving.register_keras_serializable(package="test_saving")
    class Counting(keras.layers.Dense):
        def save_own_variables(self, store):
            super().save_own_variables(store)
            store["2"] = np.ones(3)

    model = keras.Sequential([keras.Input((3,)), Counting(2)])
    with pytest.warns(UserWarning, match=r"layers/counting/vars/2.*no variable"):
        path = save_backbone(model, tmp_path / "m.weights.h5")
    with pytest.raises(ValueError, match="not used: layers/counting/vars/2"):
        load_backbone(path)
    other = keras.models.clone_model(model)
    assert transfer_weights(path, other, allow_unused="^layers/").verify().counts["unused"] == 1


@pytest.mark.filterwarnings("ignore:Layer InputLayer does not have")
def test_a_quantized_model(tmp_path):
    model = encoder()
    model.get_layer("trunk").get_layer("first").quantize("int8")
    other = load_backbone(save_backbone(model, tmp_path / "m.weights.h5"))
    x = np.ones((1, 8, 8, 3), "float32")
    np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(m(x)) for m in (model, other)))
