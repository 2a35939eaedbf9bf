"""Run by itself, with a folder as argument: saves that are killed, and saves that fill the disk (`small`: a real one).

One process prepares everything, and forks a child for each interruption, so that twenty cost seconds. It runs on
Keras's NumPy backend, which has no threads that a fork would lose.
"""

import errno
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path

import keras

from tftransfer.weights import load_backbone, save_backbone


def build():
    return keras.Sequential([keras.Input((64,)), *(keras.layers.Dense(64, name=f"d{i}") for i in range(6))])


def save(model, value, path):
    for weight in model.weights:
        weight.assign(keras.ops.full(weight.shape, value))
    save_backbone(model, path)


def in_child(work):
    """Runs `work` in a child; its exit status is 0 unless it raises."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    return child


def killed_saves(path, count):
    model, seen = build(), set()
    save(model, 0, path)
    began = time.perf_counter()
    save(model, 0, path)
    duration = time.perf_counter() - began

    def save_for_ever():
        for value in range(1, 10_000):
            save(model, value, path)

    for _ in range(count):
        child = in_child(save_for_ever)
        time.sleep(random.uniform(0, 4) * duration)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = load_backbone(path).get_weights()
        values = {float(value) for array in found for value in array.flat}
        assert len(values) == 1, f"a mixture of two saves: {values}"
        seen |= values
    save(model, 1, path)
    assert os.listdir(path.parent) == [path.name], f"left behind: {os.listdir(path.parent)}"
    print(f"{count} kills, {len(seen)} different files", flush=True)


def full_disk(path):
    model = build()
    save(model, 7, path)

    def save_too_much():
        size = path.stat().st_size
        for limit in (0, 100, 2048, size // 2, size - 60, size - 10):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            try:
                save(model, 8, path)
            except OSError as error:
                assert str(path) in str(error), error
            else:
                raise AssertionError(f"no error with a limit of {limit} of {size} bytes")

    _, status = os.waitpid(in_child(save_too_much), 0)
    assert status == 0, f"the child ended with {status}"
    assert {float(value) for array in load_backbone(path).get_weights() for value in array.flat} == {7.0}
    assert os.listdir(path.parent) == [path.name], f"left behind: {os.listdir(path.parent)}"
    print("full disk: the old file is whole", flush=True)


def small_disk(path):
    """The folder lies on a disk that has room for the file, and not for a second one beside it."""
    model = build()
    save(model, 7, path)
    room = os.statvfs(path.parent)
    assert room.f_bavail * room.f_frsize < path.stat().st_size, "the disk is too large for this test"
    for filler in (0, 1, 2):  # full at the first byte, and at later ones
        try:
            save(model, 8, path)
        except OSError as error:
            assert error.errno == errno.ENOSPC and str(path) in str(error), error
        else:
            raise AssertionError("no error on a disk that is full")
        assert {float(v) for array in load_backbone(path).get_weights() for v in array.flat} == {7.0}
        left = set(os.listdir(path.parent)) - {f"filler_{i}" for i in range(3)}
        assert left == {path.name}, f"left behind: {left}"
        (path.parent / f"filler_{filler}").write_bytes(bytes(room.f_bavail * room.f_frsize // 4))
    print("small disk: the old file is whole", flush=True)


if __name__ == "__main__":
    random.seed(0)
    if sys.argv[2:] == ["small"]:
        small_disk(Path(sys.argv[1]) / "m.weights.h5")
    else:
        killed_saves(Path(sys.argv[1]) / "kills" / "m.weights.h5", 20)
        full_disk(Path(sys.argv[1]) / "full" / "m.weights.h5")
