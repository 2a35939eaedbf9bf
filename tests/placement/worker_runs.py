"""Run by itself: `worker_runs.py FOLDER pretrain|finetune KILLS`. Two workers, killed again and again, and one process.

One process imports everything and forks the workers of each attempt; it computes nothing itself. A worker that was
killed takes the others with it, as a supervisor does it, and all start again from the chief's checkpoint. What they
end with must be, bit for bit, what two undisturbed workers end with; and that what one process ends with, to 1e-5.
"""

import contextlib
import json
import os
import random
import signal
import socket
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow  # noqa: F401  # imported once, before forking

import tftransfer as tt
from tftransfer.policies import full, linear_probe

COUNT, BATCH, EPOCHS = 32, 8, 3
STEPS = EPOCHS * COUNT // BATCH
SIDE = 8


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Counting(keras.layers.Layer):
    """Counts how often each example was seen in training, over all workers; its number is its first pixel."""

    def build(self, shape):
        self.seen = self.add_weight(shape=(COUNT,), initializer="zeros", trainable=False, name="seen")

    def call(self, x, training=False):
        if training:
            numbers = tt.placement.all_gather(keras.ops.cast(keras.ops.round(x[:, 0, 0, 0] * COUNT), "int32"))
            self.seen.assign(self.seen + keras.ops.sum(keras.ops.one_hot(numbers, COUNT), axis=0))
        return x


class Behind(keras.layers.Layer):
    """An augmentation that leaves the first pixel, which counts, as it is."""

    def __init__(self, view):
        super().__init__()
        self.view = view

    def call(self, x, training=False):
        seen = self.view(x, training=training)
        first = keras.ops.concatenate([x[:, :1, :1], seen[:, :1, 1:]], axis=2)
        return keras.ops.concatenate([first, seen[:, 1:]], axis=1)


def examples():
    x = np.random.default_rng(0).random((COUNT, SIDE, SIDE, 1), dtype="float32")
    x[:, 0, 0, 0] = np.arange(COUNT) / COUNT
    return x, np.arange(COUNT) % 3


def backbone():
    parts = [
        keras.layers.Conv2D(4, 3, strides=2, name="conv"),
        tt.layers.batch_normalization("norm"),
        keras.layers.Flatten(name="flat"),
        keras.layers.Dropout(0.3, name="drop"),
        keras.layers.Dense(6, name="dense"),
    ]
    return keras.Sequential([keras.Input((SIDE, SIDE, 1)), *parts])


class Objective(tt.objectives.SimCLR):
    """SimCLR that counts the examples it is given, before they are cropped."""

    def __init__(self, backbone, **kwargs):
        super().__init__(backbone, **kwargs)
        self.counting = Counting()
        self.counting.build(None)

    def call(self, inputs, training=None):
        return super().call(self.counting(inputs, training=training), training=training)


def pretrain(folder, resume, **more):
    strategy = tt.placement.strategy("auto", verbose=False, timeout_s=60)
    keras.utils.set_random_seed(1)
    with strategy.scope():
        view = tt.layers.RandomView(crop_scale=(0.5, 1.0), flip=True)
        objective = Objective(backbone(), augmentation=view, temperature=0.5)
        objective.compile(keras.optimizers.SGD(0.05, momentum=0.9))
    x = more.pop("x", examples()[0])
    settings = {"epochs": EPOCHS, "batch_size": BATCH, "resume": resume, "save_every": 1, "verbose": "auto"}
    settings |= {
        "save_to": folder / "run.weights.h5",
        "probe_data": examples(),
        "keep": "best",
        "health": "warn",
    }
    history = tt.pretrain(objective, x, **{**settings, **more})
    return objective, history.history, objective.counting.seen


def finetune(folder, resume, **more):
    strategy = tt.placement.strategy("auto", verbose=False, timeout_s=60)
    keras.utils.set_random_seed(1)
    with strategy.scope():
        counting = Counting()
        counted = keras.Sequential([keras.Input((SIDE, SIDE, 1)), counting, *backbone().layers])
        view = tt.layers.RandomView(crop_scale=(0.5, 1.0), flip=True)
        task = tt.tasks.Classifier(counted, 3, dropout=0.3, augmentation=Behind(view))
    x, y = examples()
    policy = linear_probe(1) + full(EPOCHS - 1, learning_rate=1e-2)
    settings = {"policy": policy, "batch_size": BATCH, "save_every": 1, "verbose": 2}
    settings |= {"optimizer": keras.optimizers.SGD(0.05, momentum=0.9), "validation_data": (x[:21], y[:21])}
    history = tt.finetune(task, (x, y), resume=folder / "run.h5" if resume else False, **{**settings, **more})
    accuracy = tt.evaluate(task, (x, y), verbose=0).metrics["accuracy"]
    return task, {**history.history, "accuracy": accuracy}, counting.seen


WORK = {"pretrain": pretrain, "finetune": finetune}


def in_child(function, log, config=None):
    """The id of a forked process that runs a function; its output goes to a file."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.environ.pop("TF_CONFIG", None)
        if config is not None:
            os.environ["TF_CONFIG"] = json.dumps(config)
        with open(log, "w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        function()
        code = 0
    except SystemExit as error:
        code = error.code
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def start(kind, folder, resume=True, count=2, vary=lambda index: {}):
    """Forks the workers of one attempt (or one process with count=1), with what varies; returns their ids."""
    folder.mkdir(parents=True, exist_ok=True)
    addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]

    def work(index):
        model, history, seen = WORK[kind](folder, resume, **vary(index))
        values = np.concatenate([np.ravel(history[name]) for name in sorted(history)])
        np.savez(folder / f"{index}.tmp.npz", *model.get_weights(), seen=np.asarray(seen), figures=values)
        os.replace(folder / f"{index}.tmp.npz", folder / f"{index}.npz")

    children = []
    for index in range(count):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        log = folder / f"{index}.log"
        children.append(in_child(lambda index=index: work(index), log, config if count > 1 else None))
    return children


def end(children, limit_s=300, kill=None):
    """Waits for the children to end, or for the moment to kill one; then kills all. Their statuses, or None if killed.

    Args:
        children: ids.
        limit_s: seconds they may take.
        kill: function that says which child to kill now, or None.
    """
    ends, statuses, victim = time.monotonic() + limit_s, {}, None
    while len(statuses) < len(children) and victim is None and not any(statuses.values()):
        assert time.monotonic() < ends, f"the children do not end within {limit_s} seconds"
        for child in set(children) - set(statuses):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                statuses[child] = os.waitstatus_to_exitcode(status)
        victim = None if kill is None else kill()
        time.sleep(0.005)
    left = set(children) - set(statuses)
    for child in sorted(left, key=lambda child: child != victim):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return [statuses.get(child) for child in children] if victim is None else None


def moment(children, path, longest):
    """A function for `end`: kills one of the children at a random time, mostly after so many files at `path`."""
    began, victim = time.monotonic(), random.choice(children)
    wait = random.uniform(0, longest) if random.random() < 0.25 else None
    files, fraction, seen = random.randrange(STEPS), random.uniform(0, 0.3), []

    def kill():
        if wait is not None:
            return victim if time.monotonic() - began > wait else None
        with contextlib.suppress(FileNotFoundError):
            written = path.stat().st_mtime_ns
            if not seen or seen[-1][0] != written:
                seen.append((written, time.monotonic()))
        return victim if len(seen) > files and time.monotonic() - seen[files][1] > fraction else None

    return kill


def weights(folder, index):
    with np.load(folder / f"{index}.npz") as arrays:
        return [arrays["seen"], *(arrays[name] for name in arrays if name.startswith("arr_"))]


def figures(folder, index):
    """The history; of an epoch that was cut it holds the rest alone."""
    with np.load(folder / f"{index}.npz") as arrays:
        return arrays["figures"]


def logs(folder):
    return "\n".join(f"--- {log.name}\n{log.read_text()[-3000:]}" for log in sorted(folder.glob("*.log")))


def main(folder, kind, kills):
    alone, undisturbed = folder / "alone", folder / "undisturbed"
    assert end(start(kind, alone, count=1)) == [0], logs(alone)
    began = time.monotonic()
    assert end(start(kind, undisturbed)) == [0, 0], logs(undisturbed)
    longest = time.monotonic() - began
    expected = weights(undisturbed, 0)
    for one, other in zip(expected, weights(undisturbed, 1), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(expected, weights(alone, 0), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    np.testing.assert_array_equal(figures(undisturbed, 0), figures(undisturbed, 1))
    np.testing.assert_allclose(figures(undisturbed, 0), figures(alone, 0), atol=1e-4)
    assert (expected[0] == EPOCHS).all(), "an example was missed or read twice"
    said = [len((undisturbed / f"{index}.log").read_text().splitlines()) for index in (0, 1)]
    print(f"two workers as one process in {longest:.0f} s; lines said: {said}", flush=True)

    done = runs = attempts = begun = 0
    while done < kills:
        here, children = folder / f"run_{runs}", []
        while True:
            children = start(kind, here)
            attempts += 1
            path = here / {"pretrain": "run.checkpoint.weights.h5", "finetune": "run.h5"}[kind]
            begun += path.exists()
            statuses = end(children, kill=moment(children, path, longest) if done < kills else None)
            if statuses is None:
                done += 1
                continue
            assert statuses == [0, 0], f"{statuses}\n{logs(here)}"
            break
        runs += 1
        for index in (0, 1):
            for one, other in zip(expected, weights(here, index), strict=True):
                np.testing.assert_array_equal(one, other)
        left = {path.name for path in here.iterdir()} - {"0.log", "1.log", "0.npz", "1.npz"}
        assert left == ({"run.weights.h5"} if kind == "pretrain" else set()), f"left behind: {left}"
    print(
        f"{done} kills in {runs} runs, {attempts} attempts, {begun} from a checkpoint: all equal", flush=True
    )


if __name__ == "__main__":
    random.seed(0)
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
