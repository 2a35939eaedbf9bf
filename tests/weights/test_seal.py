import h5py
import keras
import numpy as np
import pytest

from tftransfer.weights import load_backbone, save_backbone
from tftransfer.weights.seal import MAGIC, add_seal, check_seal, sealed_write


def test_a_seal_is_found_and_believed(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    assert check_seal(path, "it") is None
    add_seal(path)
    assert path.read_bytes().startswith(b"content" + MAGIC)
    assert len(check_seal(path, "it")) == 32
    path.write_bytes(b"k" + path.read_bytes()[1:])
    with pytest.raises(ValueError, match="it is damaged"):
        check_seal(path, "it")


def test_what_is_written_is_sealed_and_a_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / "new" / "file"
    with sealed_write(path, 1000) as temporary:
        assert temporary.read_bytes() == b""  # the room was tried, and given back
        temporary.write_bytes(b"content")
    assert path.read_bytes().startswith(b"content" + MAGIC) and check_seal(path, "it")
    whole = path.read_bytes()
    with pytest.raises(ZeroDivisionError), sealed_write(path, 1000) as temporary:
        temporary.write_bytes(b"half")
        _ = 1 / 0
    assert path.read_bytes() == whole and [p.name for p in path.parent.iterdir()] == ["file"]


def test_short_files_have_none(tmp_path):
    for content in (b"", b"x", MAGIC, bytes(47)):
        (tmp_path / "file").write_bytes(content)
        assert check_seal(tmp_path / "file", "it") is None


def test_hdf5_tools_may_edit_a_sealed_file(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="d")])
    path = save_backbone(model, tmp_path / "m.weights.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["note"] = "mine"
    assert check_seal(path, "it") is None
    np.testing.assert_array_equal(load_backbone(path).get_weights()[0], model.get_weights()[0])
