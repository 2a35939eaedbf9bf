"""A save that is killed or finds the disk full leaves the old file or the new one."""

import errno
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tftransfer.weights import files as module
from tftransfer.weights import load_backbone, save_backbone


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="forks, kill -9 and file limits are POSIX")
def test_twenty_kills_and_a_full_disk(tmp_path):
    run = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("interruptions.py")), str(tmp_path)],
        env={**os.environ, "KERAS_BACKEND": "numpy", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    assert "20 kills" in run.stdout and "the old file is whole" in run.stdout


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="a disk of one's own is made by Linux's unshare")
def test_a_disk_that_is_really_full(tmp_path):
    """A file system in memory, of 256 KiB, in a namespace of its own; the file takes two thirds of it."""
    mount = f"mount -t tmpfs -o size=256k tmpfs {shlex.quote(str(tmp_path))}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a file system in a namespace of his own")
    script = [sys.executable, str(Path(__file__).with_name("interruptions.py")), str(tmp_path), "small"]
    run = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f"{mount} && exec {shlex.join(script)}"],
        env={**os.environ, "KERAS_BACKEND": "numpy", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    assert "the old file is whole" in run.stdout


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_the_disk_fails_at_the_last_moment(tmp_path, monkeypatch, name):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    path = save_backbone(model, tmp_path / "m.weights.h5")
    old = model.get_weights()
    model.set_weights([array + 1 for array in old])
    monkeypatch.setattr(module.os, name, fail)
    with pytest.raises(OSError, match="No space left on device") as raised:
        save_backbone(model, path)
    monkeypatch.undo()
    assert raised.value.errno == errno.ENOSPC and str(path) in str(raised.value)
    assert os.listdir(tmp_path) == [path.name]
    for a, b in zip(old, load_backbone(path).get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
