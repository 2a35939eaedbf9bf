"""MultiWorkerMirrored: two real processes on 127.0.0.1 against one.

TFTRANSFER_WORKER_KILLS says how many kills pretraining and fine-tuning on two workers have to stand.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

WORKER = Path(__file__).with_name("worker.py")
KILLS = int(os.environ.get("TFTRANSFER_WORKER_KILLS", "2"))
LIMIT_S = 240

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(2 * LIMIT_S),
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute workers"),
]


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def start(folder, steps, config=None):
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
    environment.pop("TF_CONFIG", None)
    if config is not None:
        environment["TF_CONFIG"] = json.dumps(config)
    environment["PYTHONPATH"] = os.pathsep.join([str(WORKER.parents[2]), environment.get("PYTHONPATH", "")])
    command = [sys.executable, str(WORKER), str(folder), str(steps)]
    with open(folder / f"{config['task']['index'] if config else 'alone'}.log", "w") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def results(folder, steps):
    """What one process and two workers made of the same model and data: `(alone, [worker 0, worker 1])`."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    processes = [start(folder, steps)]
    for index in range(2):
        task = {"type": "worker", "index": index}
        processes.append(start(folder, steps, {"cluster": {"worker": addresses}, "task": task}))
    try:
        codes = [p.wait(timeout=LIMIT_S) for p in processes]
    finally:
        for p in processes:
            p.kill()
    logs = "\n".join(f.read_text()[-2000:] for f in sorted(folder.glob("*.log")))
    assert codes[0] == 0 and all((folder / f"{i}.json").exists() for i in range(2)), logs
    return [json.loads((folder / f"{name}.json").read_text()) for name in ("alone", 0, 1)]


@pytest.mark.parametrize("steps", [pytest.param(1, marks=pytest.mark.thorough), 3])
def test_two_workers_train_as_one(tmp_path, steps):
    alone, first, second = results(tmp_path, steps)
    assert (alone["replicas"], first["replicas"], second["replicas"]) == (1, 2, 2)
    assert first["checksum"] == second["checksum"]  # bit by bit
    weights = [[v for _, v in np.load(tmp_path / f"{name}.npz").items()] for name in ("alone", 0)]
    for one, two in zip(*weights, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)
    assert set(first["seen"]) == {2.0}  # every example once in each of two epochs, whoever read it
    assert first["history"] == second["history"]
    for name, values in alone["history"].items():
        np.testing.assert_allclose(first["history"][name], values, atol=1e-5)
    for worker in (first, second):
        np.testing.assert_allclose(worker["predicted"], alone["predicted"], atol=1e-5)


def run_script(name, *arguments, limit_s=LIMIT_S):
    """What a script of this folder says, which must end well."""
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
    environment["PYTHONPATH"] = os.pathsep.join([str(WORKER.parents[2]), environment.get("PYTHONPATH", "")])
    command = [sys.executable, str(WORKER.with_name(name)), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit_s)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    print(done.stdout)
    return done.stdout


@pytest.mark.timeout(2 * LIMIT_S + 40 * KILLS)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork and kill -9 are POSIX")
@pytest.mark.parametrize("kind", ["pretrain", pytest.param("finetune", marks=pytest.mark.thorough)])
def test_runs_of_two_workers_equal_one_process_and_stand_kills(tmp_path, kind):
    said = run_script("worker_runs.py", tmp_path, kind, KILLS, limit_s=2 * LIMIT_S + 40 * KILLS)
    assert "two workers as one process" in said and f"{KILLS} kills" in said


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork and kill -9 are POSIX")
@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (("data", "killed"), ("data: ", "one worker killed")),
        pytest.param(
            ("settings", "unwritable", "asked_to_end"),
            ("settings: ", "write: ", "saved and ended with status 143"),
            marks=pytest.mark.thorough,
        ),
    ],
    ids=["quick", "more"],
)
def test_what_is_wrong_with_one_worker_is_said_by_all(tmp_path, faults, words):
    said = run_script("worker_faults.py", tmp_path, *faults, limit_s=2 * LIMIT_S)
    assert all(word in said for word in words), said
