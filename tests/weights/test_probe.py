import subprocess
import sys
from pathlib import Path

import keras
import pytest

from tftransfer.weights import describe, load_backbone, save_backbone, seal
from tftransfer.weights import probe as module
from tftransfer.weights.probe import probe


@pytest.fixture
def path(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="d")])
    return save_backbone(model, tmp_path / "m.weights.h5")


original = subprocess.run


def run(monkeypatch, code):
    """Lets the probe run this Python code instead of its own."""
    monkeypatch.setattr(
        module.subprocess, "run", lambda _, **kwargs: original([sys.executable, "-c", code], **kwargs)
    )


def test_a_whole_file_passes(path):
    assert probe(path, "the file") is None


def test_a_file_of_another_process_is_probed_once(path, monkeypatch):
    calls = []
    monkeypatch.setattr("tftransfer.weights.sources.probe", lambda *arguments: calls.append(arguments))
    load_backbone(path)
    assert not calls  # this process wrote it
    monkeypatch.setattr(seal, "known", set())
    monkeypatch.setattr("tftransfer.weights.sources.known", seal.known)
    load_backbone(path)
    describe(path)
    assert len(calls) == 1


def test_a_damaged_file_that_makes_hdf5_loop_for_ever(path, tmp_path, monkeypatch):
    """Zeros in the heap that holds the names: H5Aread never returns (HDF5 1.14.6)."""
    monkeypatch.setattr(module, "SECONDS", 6.0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="d")])
    plain = tmp_path / "plain.weights.h5"
    model.save_weights(plain)
    data = plain.read_bytes()
    heap = data.index(b"GCOL")
    plain.write_bytes(data[: heap + 16] + bytes(64) + data[heap + 80 :])
    with pytest.raises(ValueError, match="damaged"):
        describe(plain)


def test_crashes_hangs_and_refusals_are_told_apart(path, monkeypatch):
    run(monkeypatch, "import os; os.abort()")
    with pytest.raises(ValueError, match="the file is damaged: reading it crashes"):
        probe(path, "the file")
    run(monkeypatch, f"print({str(path)!r}, 'is odd'); raise SystemExit(3)")
    with pytest.raises(ValueError, match=r"^the file is odd$"):
        probe(path, "the file")
    run(monkeypatch, "raise ImportError")
    assert probe(path, "the file") is None  # no probe is possible here
    monkeypatch.setattr(module, "SECONDS", 0.5)
    run(monkeypatch, "import time; time.sleep(60)")
    with pytest.raises(ValueError, match="does not end"):
        probe(path, "the file")


def test_the_reader_stands_alone(path):
    """It must start fast: no Keras, nothing of tftransfer."""
    reader = Path(module.hdf5.__file__)
    code = f"import runpy, sys; sys.argv = ['x', {str(path)!r}]; runpy.run_path({str(reader)!r}, run_name='__main__'); "
    code += "assert not {'keras', 'tftransfer', 'tensorflow', 'jax'} & set(sys.modules), sys.modules"
    subprocess.run([sys.executable, "-P", "-c", code], check=True, timeout=60)
