"""Workers by Ray Train. Ray is no part of the test extra: where it is installed, these run on this machine alone."""

import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import pytest

from tftransfer.__main__ import main
from tftransfer.placement import launch
from tftransfer.placement.launch import is_launched, reports

tensorflow_only = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="launch is TensorFlow's")
with_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason='needs pip install "ray[train]"'
)


@tensorflow_only
def test_without_ray_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "tftransfer\[ray\]"'):
        launch(print)
    arguments = ["pretrain", "--data", "digits", "--out", "a.weights.h5"]
    assert main([*arguments, "--workers", "2"]) == 2
    assert "pip install" in capsys.readouterr().err
    assert main([*arguments, "--pictures", "folder", "--workers", "2"]) == 2
    assert "do not go together" in capsys.readouterr().err


@tensorflow_only
@pytest.mark.parametrize(
    "given, words",
    [
        ({"train_function": 3}, "takes the function"),
        ({"workers": 0}, "workers is a whole number from 1"),
        ({"workers": True}, "workers is a whole number"),
        ({"restarts": -2}, "restarts is a whole number from -1"),
        ({"config": [1]}, "config is a dict"),
    ],
)
def test_what_cannot_be_is_refused(given, words):
    with pytest.raises(ValueError, match=words):
        launch(**{"train_function": print, **given})


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="about JAX")
@pytest.mark.compute
def test_jax_is_refused():
    with pytest.raises(ValueError, match="KERAS_BACKEND=tensorflow"):
        launch(print)


def test_elsewhere_nothing_is_reported():
    assert not is_launched() and reports(["a.weights.h5"]) == []


PROGRAM = """
    import os, sys, zlib
    import keras, numpy as np
    import tftransfer as tt

    class Kill(keras.callbacks.Callback):
        def __init__(self, marker):
            super().__init__()
            self.marker = marker

        def on_epoch_end(self, epoch, logs=None):
            worker = tt.placement.workers_of(self.model).index
            if epoch == 2 and worker == 1 and not os.path.exists(self.marker):
                open(self.marker, "w").close()
                os.kill(os.getpid(), 9)

    def train(folder):
        strategy = tt.placement.strategy("auto")
        keras.utils.set_random_seed(1)
        with strategy.scope():
            body = [keras.layers.Dense(6), keras.layers.BatchNormalization(), keras.layers.Dropout(0.3)]
            objective = tt.objectives.Autoencoder(keras.Sequential([keras.Input((8,)), *body]), noise=0.2)
        x = np.random.default_rng(0).random((64, 8), dtype="float32")
        path = folder["folder"] + "/a.weights.h5"
        callbacks = [Kill(folder["folder"] + "/killed")]
        options = {"epochs": 6, "batch_size": 16, "save_every": 1, "callbacks": callbacks}
        tt.pretrain(objective, x, save_to=path, resume=True, **options)
        total = zlib.crc32(b"".join(w.tobytes() for w in objective.get_weights()))
        with open(f"{folder['folder']}/{tt.placement.workers_of(objective).index}.txt", "w") as file:
            file.write(str(total))

    if __name__ == "__main__":
        os.makedirs("undisturbed")
        open("undisturbed/killed", "w").close()
        os.makedirs("disturbed")
        for folder in ("undisturbed", "disturbed"):
            result = tt.placement.launch(train, workers=2, config={"folder": folder}, storage="store")
            assert result.metrics["epoch"] == 5 and result.metrics["loss"] > 0, result
            assert result.checkpoint is not None
"""


def python(folder, *arguments):
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    return done.stdout + done.stderr


@with_ray
@tensorflow_only
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_worker_is_started_again_and_the_weights_are_the_same(tmp_path):
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    said = python(tmp_path, "program.py")
    sums = {(tmp_path / run / f"{i}.txt").read_text() for run in ("undisturbed", "disturbed") for i in (0, 1)}
    assert len(sums) == 1, f"the weights differ: {sums}"
    assert (tmp_path / "disturbed" / "killed").exists() and "Resumed from" in said
    assert sorted(p.name for p in (tmp_path / "disturbed").glob("*.h5")) == ["a.weights.h5"]
    assert said.count("placement:") == 3 * 2 and said.count("Saved the backbone") == 2


@with_ray
@tensorflow_only
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_command_line_on_workers(tmp_path):
    small = ["--objective", "autoencoder(noise=0.1)", "--backbone", "mlp(units=(8,))", "--epochs", "1"]
    pretrain = ["pretrain", "--data", "digits", *small, "--out", "a.weights.h5"]
    said = python(tmp_path, "-m", "tftransfer", *pretrain, "--workers", "2")
    assert (tmp_path / "a.weights.h5").exists() and said.count("In Python:") == 1
    finetune = ["finetune", "a.weights.h5", "--data", "digits", "--labels", "5", "--policy", "full(epochs=2)"]
    said = python(tmp_path, "-m", "tftransfer", *finetune, "--out", "a.keras", "--workers", "2")
    assert said.count("Saved the model to a.keras") == 1
    assert sorted(p.name for p in tmp_path.glob("a.*")) == ["a.keras", "a.weights.h5"]
