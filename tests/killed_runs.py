"""Run by itself: `killed_runs.py FOLDER pretrain|finetune KILLS`. Runs that are killed again and again, and go on.

One process imports everything and forks a child for each attempt, so that fifty kills cost minutes; it computes
nothing itself, since a fork would lose the threads of a backend at work. The children save at every step. After
each kill every file must be readable and the run must stand no earlier than before; each run that comes through
must end with the weights, bit for bit, of the run that was left alone.
"""

import contextlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import h5py
import keras
import numpy as np

import tftransfer as tt
from tftransfer.checkpoints import STATE as PRETRAINING
from tftransfer.checkpoints import Checkpoint
from tftransfer.finetuning import state
from tftransfer.finetuning.state import STATE as FINETUNING
from tftransfer.policies import full, linear_probe
from tftransfer.weights.seal import check_seal

EPOCHS, COUNT, BATCH = 30, 24, 8
STEPS = EPOCHS * COUNT // BATCH
OVER = "over"  # a file that says that fine-tuning came to its end, where it removes its state


def pretrain(folder, resume):
    """Noise, dropout and moving statistics: all that random state and slots stand for, quick to trace."""
    keras.utils.set_random_seed(1)
    parts = [keras.layers.Dense(6), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)]
    objective = tt.objectives.Autoencoder(keras.Sequential([keras.Input((8,)), *parts]), noise=0.2)
    x = np.random.default_rng(0).random((COUNT, 8), dtype="float32")
    tt.pretrain(
        objective,
        x,
        epochs=EPOCHS,
        batch_size=BATCH,
        save_to=folder / "run.weights.h5",
        resume=resume,
        verbose=0,
    )
    return objective.get_weights()


def finetune(folder, resume):
    keras.utils.set_random_seed(1)
    parts = [
        keras.layers.Conv2D(4, 3, name="conv"),
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.Flatten(),
    ]
    task = tt.tasks.Classifier(keras.Sequential([keras.Input((6, 6, 1)), *parts]), 3, dropout=0.3)
    draw = np.random.default_rng(0)
    x, y = draw.random((COUNT, 6, 6, 1), dtype="float32"), np.arange(COUNT) % 3
    policy = linear_probe(EPOCHS // 3) + full(2 * EPOCHS // 3, learning_rate=1e-2)
    settings = {"validation_data": (x[::2], y[::2]), "policy": policy, "batch_size": BATCH, "verbose": 0}
    delete = state.RunState.delete

    def say_and_delete(self):
        (folder / OVER).touch()
        delete(self)

    state.RunState.delete = say_and_delete  # in this child alone
    tt.finetune(task, (x, y), resume=folder / "run.h5" if resume else False, **settings)
    return task.get_weights()


def in_child(work, folder, resume):
    child = os.fork()
    if child:
        return child
    try:
        weights = work(folder, resume)
        np.savez(folder / "result.tmp.npz", *weights)
        os.replace(folder / "result.tmp.npz", folder / "result.npz")
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def position(folder):
    """How far the files say that the run is; raises when one of them cannot be read to the end."""
    steps = [0]
    for path in folder.glob("[!.]*.h5"):
        with h5py.File(path) as file:
            file.visititems(lambda _, node: node[()] if isinstance(node, h5py.Dataset) else None)
            for name in {PRETRAINING, FINETUNING} & set(file.attrs):
                steps.append(json.loads(file.attrs[name]).get("step", 0))
        if path.name == "run.weights.h5":
            assert check_seal(path, str(path)), "the backbone is not whole"
            steps.append(STEPS)
    return max(steps)


def written(folder):
    """Changes whenever a file is replaced."""
    with contextlib.suppress(FileNotFoundError):  # removed in this moment
        return {path.name: path.stat().st_mtime_ns for path in folder.glob("[!.]*.h5")}
    return None


def result(folder):
    with np.load(folder / "result.npz") as arrays:
        found = [arrays[name] for name in arrays]
    if (folder / "run.weights.h5").exists():
        with h5py.File(folder / "run.weights.h5") as file:
            rows = json.loads(file.attrs["tftransfer"])["manifest"]
            found += [file[row["location"]][()] for row in rows]
    return found


def main(folder, kind, kills):
    work = {"pretrain": pretrain, "finetune": finetune}[kind]
    Checkpoint.__init__.__kwdefaults__["seconds"] = state.SECONDS = -1.0
    (folder / "undisturbed").mkdir(parents=True)
    began = time.monotonic()
    assert os.waitpid(in_child(work, folder / "undisturbed", False), 0)[1] == 0
    longest = 1.5 * (time.monotonic() - began)
    expected = result(folder / "undisturbed")

    done = runs = restarts = 0
    while done < kills:
        here, reached = folder / f"run_{runs}", 0
        here.mkdir()
        while True:
            child = in_child(work, here, True)
            wait = random.uniform(0, longest) if done < kills else 1e9
            counts, before = random.random() < 0.3, written(here)  # most of them only once it trains
            ends, status = time.monotonic() + wait, 0
            while time.monotonic() < ends:
                ended, status = os.waitpid(child, os.WNOHANG)
                if ended:
                    break
                time.sleep(0.005)
                if not counts and written(here) != before:
                    counts, ends = True, time.monotonic() + wait / 2
                elif not counts:
                    ends = time.monotonic() + wait
            else:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                done += 1
                restarts += reached == 0
                is_over = (
                    here / OVER
                ).exists()  # killed when its state was removed, before it gave its weights
                assert position(here) >= reached or is_over, "steps were lost"
                (here / OVER).unlink(missing_ok=True)
                reached = position(here)
                continue
            assert status == 0, f"an attempt failed: {status}"
            break
        runs += 1
        for one, other in zip(expected, result(here), strict=True):
            np.testing.assert_array_equal(one, other)
        left = {path.name for path in here.iterdir()} - {"result.npz", "result.tmp.npz", OVER}
        assert left == ({"run.weights.h5"} if kind == "pretrain" else set()), f"left behind: {left}"
    print(
        f"{done} kills in {runs} runs ({done - restarts} of them after the first file): all equal", flush=True
    )


if __name__ == "__main__":
    random.seed(0)
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
