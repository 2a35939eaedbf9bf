"""Files that Keras 2 wrote: real ones, made by `keras2_files.py` under tf_keras 2.21."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from tests.weights.keras2_files import FILES, build, expected
from tftransfer.weights import describe, transfer_weights, variable_paths

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keras2")
    with tarfile.open(HERE / "keras2_files.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def check(path):
    model = build(keras)
    receipt = transfer_weights(path, model, by_order=path.name.startswith(("positions", "archive")))
    assert receipt.verify().assert_loaded().percent_loaded == 100
    for name, variable in variable_paths(model).items():
        parts = [
            part.rsplit("_", 1)[0] if part[-1].isdecimal() and part[0] != "b" else part
            for part in name.split("/")
        ]
        parts = [
            "_".join(part.split("_")[:2]) if part.startswith(("forward", "backward")) else part
            for part in parts
        ]
        value = expected("/".join(parts), variable.shape)
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value, err_msg=name)


@pytest.mark.parametrize("name", FILES)
def test_each_kind_of_file_of_keras_2(folder, name):
    check(folder / name)


@pytest.mark.slow
def test_files_that_are_made_now(tmp_path):
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), "tf_keras"]
    if subprocess.run(install, capture_output=True, timeout=120).returncode:
        pytest.skip("tf_keras cannot be installed here")
    run = subprocess.run(
        [sys.executable, str(HERE / "keras2_files.py"), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(site), "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    if run.returncode:
        pytest.skip(f"tf_keras does not run here: {run.stderr[-200:]}")
    for name in FILES:
        check(tmp_path / name)


def test_keras_10777_a_frozen_layer_in_a_nested_model_swaps_nothing(folder):
    """Keras's own loader goes by position, and the file lists the frozen b1 after b2."""
    paths = [entry.path for entry in describe(folder / "whole.h5").variables]
    assert paths.index("trunk/b2/kernel") < paths.index("trunk/b1/kernel")
    check(folder / "whole.h5")
    with pytest.raises(ValueError, match="frozen layer changes the order"):
        transfer_weights(folder / "whole.h5", build(keras), by_order=True)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_the_older_format_of_keras_3(tmp_path):
    model = build(keras)
    path = tmp_path / "m.h5"
    model.save(path)
    other = build(keras)
    transfer_weights(path, other).verify().assert_loaded()
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_names_of_keras_1_as_in_the_first_files_of_keras_applications(tmp_path):
    path = tmp_path / "vgg.h5"
    kernel, bias = np.random.rand(3, 3, 3, 4).astype("float32"), np.random.rand(4).astype("float32")
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"input_1", b"block1_conv1", b"block1_pool"]
        for name in ("input_1", "block1_pool"):
            file.create_group(name).attrs["weight_names"] = np.array([])
        group = file.create_group("block1_conv1")
        group.attrs["weight_names"] = [b"block1_conv1_W_1:0", b"block1_conv1_b_1:0"]
        group["block1_conv1_W_1:0"], group["block1_conv1_b_1:0"] = kernel, bias
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="block1_conv1")])
    receipt = transfer_weights(path, model)
    assert receipt.verify().counts["renamed"] == 2
    np.testing.assert_array_equal(model.get_weights()[0], kernel)


@pytest.mark.parametrize("channels", [3, 1])
def test_a_weights_file_of_keras_applications(tmp_path, channels):
    """The layout of the files that keras.applications downloads: the older format, the layers at the root."""
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    path = tmp_path / "mobilenet_no_top.h5"
    source, target = (
        keras.applications.MobileNet(weights=None, include_top=False, input_shape=(32, 32, c), alpha=0.25)
        for c in (3, channels)
    )
    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, source)
    receipt = transfer_weights(path, target).verify().assert_loaded()
    assert receipt.counts["adapted"] == (channels == 1)
    x = np.random.default_rng(0).random((1, 32, 32, 1), dtype="float32")
    outputs = [source(np.repeat(x, 3, -1)), target(np.repeat(x, channels, -1))]
    np.testing.assert_allclose(*(keras.ops.convert_to_numpy(y) for y in outputs), atol=1e-4)


def test_long_lists_of_names_are_split_over_attributes(tmp_path):
    model = keras.Sequential([keras.Input((2,)), *(keras.layers.Dense(2, name=f"d{i}") for i in range(3))])
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["layer_names0"], file.attrs["layer_names1"] = [b"d0", b"d1"], [b"d2"]
        for layer in model.layers:
            group = file.create_group(layer.name)
            group.attrs["weight_names"] = [f"{layer.name}/{v.name}:0".encode() for v in layer.weights]
            for v in layer.weights:
                group[f"{layer.name}/{v.name}:0"] = np.ones(v.shape, "float32")
    assert transfer_weights(tmp_path / "m.h5", model).counts["loaded"] == 6


def test_a_file_that_names_what_it_has_not(tmp_path, folder):
    path = tmp_path / "m.h5"
    path.write_bytes((folder / "layers.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        del file["norm/norm/gamma:0"]
    with pytest.raises(ValueError, match=r"norm/gamma:0.*does not have it"):
        describe(path)
    with h5py.File(path, "r+") as file:
        file.attrs["layer_names"] = 3
    with pytest.raises(ValueError, match="not a list of texts"):
        describe(path)
