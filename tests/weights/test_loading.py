import keras
import numpy as np
import pytest

from tftransfer.weights import load_backbone, save_backbone, variable_paths


@pytest.mark.compute
def test_round_trip_of_all_kinds_of_layers(tmp_path):
    inputs = keras.Input((4, 6))
    trunk = keras.Sequential([keras.Input((4, 6)), keras.layers.Dense(6, activation="gelu")], name="trunk")
    x = trunk(inputs)
    x = keras.layers.MultiHeadAttention(2, 3)(x, x) + x
    x = keras.layers.LayerNormalization()(x)
    x = keras.layers.Bidirectional(keras.layers.GRU(3))(x)
    x = keras.layers.BatchNormalization()(x)
    model = keras.Model(inputs, [x, keras.layers.Dropout(0.5)(x)], name="all")
    x = np.random.default_rng(0).normal(size=(3, 4, 6)).astype("float32")
    path = save_backbone(model, tmp_path / "m.weights.h5")
    other, receipt = load_backbone(path, return_receipt=True)
    for a, b in zip(model(x), other(x), strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b))
    assert other.name == "all"
    assert receipt.record.name == "all" and receipt.counts["random"] == 0
    assert list(variable_paths(other)) == list(variable_paths(model))


def test_names_made_up_inside_custom_layers_do_not_matter(tmp_path):
    @keras.saving.register_keras_serializable(package="test_loading")
    class Twice(keras.layers.Layer):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.units = units
            self.first, self.second = keras.layers.Dense(units), keras.layers.Dense(units)

        def build(self, shape):
            self.first.build(shape)
            self.second.build((*shape[:-1], self.units))

        def call(self, x):
            return self.second(self.first(x))

        def get_config(self):
            return {**super().get_config(), "units": self.units}

    model = keras.Sequential([keras.Input((3,)), Twice(3), Twice(3)])
    path = save_backbone(model, tmp_path / "m.weights.h5")
    other, receipt = load_backbone(path, return_receipt=True)
    assert receipt.counts["renamed"] == 8
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_custom_classes_must_be_known(tmp_path):
    class Mine(keras.layers.Dense):
        pass

    model = keras.Sequential([keras.Input((3,)), Mine(2)])
    with pytest.warns(UserWarning, match="'Mine'"):
        path = save_backbone(model, tmp_path / "m.weights.h5")
    registered = keras.saving.register_keras_serializable(package="test_known")(Mine)
    save_backbone(model, path)
    try:
        assert isinstance(load_backbone(path).layers[0], Mine)
    finally:
        keras.saving.get_custom_objects().pop("test_known>Mine")
    with pytest.raises(ValueError, match=r"test_known>Mine.*custom_objects"):
        load_backbone(path)
    assert isinstance(load_backbone(path, custom_objects={"test_known>Mine": registered}).layers[0], Mine)


def test_normalization_is_finished_after_loading(tmp_path):
    layer = keras.layers.Normalization()
    layer.adapt(np.random.default_rng(0).normal(3, 2, size=(100, 4)).astype("float32"))
    model = keras.Sequential([keras.Input((4,)), layer, keras.layers.Dense(2)])
    other = load_backbone(save_backbone(model, tmp_path / "m.weights.h5"))
    x = np.ones((1, 4), "float32")
    np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(m(x)) for m in (model, other)))


def test_the_loaded_model_trains(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.BatchNormalization()])
    model.compile("adam", "mse")
    other = load_backbone(save_backbone(model, tmp_path / "m.weights.h5"))
    assert not other.compiled
    other.compile("adam", "mse")
    before = other.get_weights()[0].copy()
    other.fit(np.random.default_rng(0).normal(size=(8, 4)), np.zeros((8, 3)), verbose=0)
    assert not np.array_equal(before, other.get_weights()[0])


def test_saving_a_loaded_model_gives_the_same_weights(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d")])
    first = load_backbone(save_backbone(model, tmp_path / "a.weights.h5"))
    second = load_backbone(save_backbone(first, tmp_path / "b.weights.h5"))
    np.testing.assert_array_equal(model.get_weights()[0], second.get_weights()[0])


def test_what_is_not_self_describing_says_what_to_do(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.save_weights(tmp_path / "m.weights.h5")
    model.save(tmp_path / "m.keras")
    for name in ("m.weights.h5", "m.keras"):
        with pytest.raises(ValueError, match="transfer_weights"):
            load_backbone(tmp_path / name)


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_backbone(tmp_path / "missing.weights.h5")
    (tmp_path / "text.weights.h5").write_text("not weights")
    with pytest.raises(ValueError, match="is not an HDF5 file"):
        load_backbone(tmp_path / "text.weights.h5")
    (tmp_path / "empty.weights.h5").write_text("")
    with pytest.raises(ValueError, match="is empty"):
        load_backbone(tmp_path / "empty.weights.h5")
    with pytest.raises(IsADirectoryError):
        load_backbone(tmp_path)
    with pytest.raises(ValueError, match="received None"):
        load_backbone(None)
