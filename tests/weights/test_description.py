import keras
import numpy as np
import pytest

from tftransfer.weights import describe, save_backbone


def build():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d")], name="encoder")


def test_a_file_of_ours(tmp_path):
    path = save_backbone(
        build(),
        tmp_path / "e.weights.h5",
        objective={"name": "SimCLR", "learning_rate": 1e-3},
        history={"loss": [2.0, 1.23456]},
        preprocessing={"range": [0, 1]},
        seed=3,
    )
    found = describe(str(path))
    assert found.self_describing and (found.name, found.seed, found.parameters) == ("encoder", 3, 15)
    assert (found.input_shape, found.preprocessing) == ((4,), {"range": [0, 1]})
    assert found.versions["keras"] == keras.__version__
    assert [variable.path for variable in found.variables] == ["d/kernel", "d/bias"]
    assert found.variables[0].shape == (4, 3) and found.variables[0].checksum
    text = str(found)
    for part in (
        "encoder (Sequential)",
        "SimCLR",
        "0.001",
        "2 epochs; at the end loss 1.235",
        "d/kernel",
        "(4, 3)",
    ):
        assert part in text
    assert "<table>" in found._repr_html_() and "d/kernel" in found._repr_html_()


def test_files_of_plain_keras(tmp_path):
    build().save_weights(tmp_path / "e.weights.h5")
    build().save(tmp_path / "e.keras")
    for name in ("e.weights.h5", "e.keras"):
        found = describe(tmp_path / name)
        assert not found.self_describing and found.record is None and found.objective is None
        assert (found.parameters, found.input_shape) == (15, None)
        assert "not self-describing" in str(found) and "d/0" in str(found)


def test_the_numbers_are_not_read(tmp_path, monkeypatch):
    path = save_backbone(build(), tmp_path / "e.weights.h5")
    monkeypatch.setattr("tftransfer.weights.sources.read_array", None)
    assert describe(path).parameters == 15


def test_wrong_paths(tmp_path):
    with pytest.raises(FileNotFoundError):
        describe(tmp_path / "none.weights.h5")
    with pytest.raises(ValueError, match="takes the path of a file"):
        describe(build())
    np.savez(tmp_path / "x.npz", a=np.ones(3))
    with pytest.raises(ValueError, match="is not an HDF5 file"):
        describe(tmp_path / "x.npz")
