"""Run by itself: `worker_faults.py FOLDER FAULT…`. What two workers say when one of them lacks something or leaves."""

import os
import signal
import sys
import time
from pathlib import Path

import keras
import numpy as np

from tests.placement.worker_runs import end, examples, logs, start, weights


class After(keras.callbacks.Callback):
    """Sends this process a signal after so many steps."""

    def __init__(self, steps, number):
        super().__init__()
        self.left, self.number = steps, number

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)


class Slow(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.05)


def both_say(folder, vary, *words, seconds=120):
    """Both workers end by an error that holds the words."""
    began = time.monotonic()
    children = start("pretrain", folder, vary=vary)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    took = time.monotonic() - began
    assert statuses == [1, 1] and took < seconds, f"{statuses} after {took:.0f} s\n{logs(folder)}"
    for index in (0, 1):
        said = (folder / f"{index}.log").read_text()
        missing = [word for word in words if word not in said]
        assert not missing, f"worker {index} does not say {missing}:\n{said[-3000:]}"
    print(f"{folder.name}: {took:.0f} s: {said.strip().splitlines()[-1][:300]}", flush=True)


def data(folder):
    x = examples()[0]
    other = x.copy()
    other[3] += 1e-3
    both_say(folder / "data", lambda i: {"x": other if i else x}, "differ in the data", "worker 1 (127.0.0.1")


def settings(folder):
    both_say(
        folder / "settings", lambda i: {"epochs": 3 + i}, "differ in the settings", "worker 1 (127.0.0.1"
    )


def unwritable(folder):
    (folder / "file").write_text("in the way")
    blocked = {"save_to": folder / "file" / "run.weights.h5"}
    both_say(folder / "write", lambda i: blocked, "Cannot write")
    assert "worker 0 (the chief" in (folder / "write" / "1.log").read_text()


def asked_to_end(folder):
    undisturbed, called = folder / "undisturbed", folder / "called"
    assert end(start("pretrain", undisturbed)) == [0, 0], logs(undisturbed)
    signals = {1: {"callbacks": [Slow(), After(3, signal.SIGTERM)]}, 0: {"callbacks": [Slow()]}}
    children = start("pretrain", called, vary=signals.get)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert statuses == [143, 143], f"{statuses}\n{logs(called)}"
    assert "SIGTERM" in (called / "0.log").read_text() and not list(called.glob("*.npz"))
    assert end(start("pretrain", called)) == [0, 0], logs(called)
    assert "Resumed from" in (called / "0.log").read_text()
    for index in (0, 1):
        for one, other in zip(weights(undisturbed, index), weights(called, index), strict=True):
            np.testing.assert_array_equal(one, other)
    print(
        "SIGTERM to one worker: both saved and ended with status 143; the rest gave the same weights",
        flush=True,
    )


def killed(folder):
    lost = {1: {"callbacks": [After(3, signal.SIGKILL)]}, 0: {}}
    began = time.monotonic()
    children = start("pretrain", folder / "lost", vary=lost.get)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    said = (folder / "lost" / "0.log").read_text()
    print(
        f"one worker killed, the other left alone: {statuses} after {time.monotonic() - began:.0f} s",
        flush=True,
    )
    assert statuses[0] != 0 and "a worker was lost" in said, said[-3000:]


if __name__ == "__main__":
    for fault in sys.argv[2:]:
        globals()[fault](Path(sys.argv[1]))
