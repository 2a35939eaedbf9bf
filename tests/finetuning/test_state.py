"""A run that was cut anywhere goes on to the weights, bit for bit, of the run that was not."""

import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

import tftransfer as tt
from tests.choice import each
from tftransfer.finetuning import finetune, state
from tftransfer.policies import adapters, full, l2_sp, layer_decay, linear_probe, lora, surgical

POLICIES = {
    "probe and decay": lambda: linear_probe(3) + layer_decay(0.5, epochs=3, learning_rate=1e-3),
    "lora": lambda: linear_probe(1) + lora(2, epochs=3),
    "spring after full": lambda: full(2, learning_rate=1e-3) + l2_sp(0.1, epochs=3, learning_rate=1e-3),
    "surgical": lambda: linear_probe(2) + surgical(1, epochs=3, learning_rate=1e-3),
    "adapters": lambda: adapters(3, epochs=2) + full(2, learning_rate=1e-4),
}


class Cut(keras.callbacks.Callback):
    """Stands for a kill after so many steps of the run."""

    def __init__(self, after):
        super().__init__()
        self.left = after

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def build():
    keras.utils.set_random_seed(5)
    backbone = tt.backbones.vit((6, 6, 1), patch_size=2, width=8, depth=2, num_heads=2)
    return tt.tasks.Classifier(backbone, num_classes=3, dropout=0.3)


@pytest.fixture
def often(monkeypatch):
    monkeypatch.setattr(state, "SECONDS", 0.0)


@pytest.mark.parametrize("name", each(POLICIES, ["lora"]))
def test_cut_runs_end_with_the_same_weights(name, data, validation, tmp_path, often):
    options = {"policy": POLICIES[name](), "batch_size": 8, "validation_data": validation, "verbose": 0}
    undisturbed = build()
    history = finetune(undisturbed, data, **options)
    path = tmp_path / "run.h5"
    cuts = 0
    for after in (2, 6, 100):
        task = build()
        try:
            resumed = finetune(task, data, resume=path, callbacks=[Cut(after)], **options)
            break
        except KeyboardInterrupt:
            cuts += 1
            assert path.exists()
    assert cuts == 2
    for one, other in zip(undisturbed.get_weights(), task.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert resumed.epoch == history.epoch and resumed.best_epoch == history.best_epoch
    np.testing.assert_array_equal(resumed.history["val_accuracy"], history.history["val_accuracy"])
    assert [stage["name"] for stage in resumed.stages] == [stage["name"] for stage in history.stages]
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_the_state_of_another_run_is_refused(data, tmp_path, often):
    path = tmp_path / "run.h5"
    with pytest.raises(KeyboardInterrupt):
        finetune(build(), data, policy=full(2), resume=path, callbacks=[Cut(1)], verbose=0)
    with pytest.raises(ValueError, match="belongs to a run that was started with"):
        finetune(build(), data, policy=full(3), resume=path, verbose=0)
    other = tmp_path / "other.h5"
    build().save_weights(tmp_path / "other.weights.h5")
    (tmp_path / "other.weights.h5").rename(other)
    with pytest.raises(ValueError, match="is not the state"):
        finetune(build(), data, policy=full(2), resume=other, verbose=0)


def test_true_names_the_files_after_the_settings(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            finetune(build(), data, policy=full(2), resume=True, callbacks=[Cut(1)], verbose=2)
    assert len(list(tmp_path.iterdir())) == 1
    output = capsys.readouterr().out
    assert "Nothing to resume" in output and "Resuming from finetune-" in output


def test_a_new_run_takes_nothing_from_files_whose_state_was_deleted(data, validation, tmp_path, often):
    path, options = tmp_path / "run.h5", {"validation_data": validation, "batch_size": 8, "verbose": 0}
    with pytest.raises(KeyboardInterrupt):
        finetune(build(), data, policy=full(9), resume=path, callbacks=[Cut(20)], **options)
    path.unlink()  # "delete the file to start over", and its best epoch is left behind
    assert path.with_suffix(".best.h5").exists()
    resumed, fresh = build(), build()
    history = finetune(resumed, data, policy=full(2), resume=path, **options)
    assert history.best_epoch == finetune(fresh, data, policy=full(2), **options).best_epoch
    for one, other in zip(resumed.get_weights(), fresh.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("which", ("run.h5", "run.best.h5"))
def test_a_flipped_bit_is_noticed(which, data, validation, tmp_path, often):
    path, options = tmp_path / "run.h5", {"validation_data": validation, "batch_size": 8, "verbose": 0}
    with pytest.raises(KeyboardInterrupt):
        finetune(build(), data, policy=full(9), resume=path, callbacks=[Cut(20)], **options)
    damaged = bytearray((tmp_path / which).read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / which).write_bytes(damaged)
    with pytest.raises(ValueError, match=f"{which}.*damaged"):
        finetune(build(), data, policy=full(9), resume=path, **options)
    (tmp_path / which).write_bytes(damaged[:-40])
    with pytest.raises(ValueError, match="damaged"):
        finetune(build(), data, policy=full(9), resume=path, **options)


SCRIPT = """
import sys
import numpy as np
from tests.finetuning.test_state import build, state
from tests.finetuning.conftest import pictures
import tftransfer as tt
state.SECONDS = 0.0
policy = tt.policies.linear_probe(3) + tt.policies.full(12, learning_rate=1e-3)
task = build()
resume = sys.argv[1] if sys.argv[1] != "no" else False
tt.finetune(task, pictures(22), validation_data=pictures(15, seed=1), policy=policy, batch_size=4,
            resume=resume, verbose=0)
np.savez(sys.argv[2], *task.get_weights())
"""


@pytest.mark.thorough  # tests/test_kills.py kills both kinds of run
def test_killed_processes_end_with_the_same_weights(tmp_path):
    """kill -9 at random moments, until a process comes through."""
    random = np.random.default_rng(0)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    run = [sys.executable, "-c", f"exec(open({str(script)!r}).read())"]
    subprocess.run([*run, "no", str(tmp_path / "undisturbed.npz")], check=True, capture_output=True)
    path, kills = tmp_path / "run.h5", 0
    while True:
        process = subprocess.Popen([*run, str(path), str(tmp_path / "resumed.npz")], stderr=subprocess.PIPE)
        begun = path.exists()
        while process.poll() is None and kills < 5 and not path.exists():
            time.sleep(0.02)
        if kills < 5 and process.poll() is None:
            time.sleep(random.uniform(0.1, 6.0 if begun else 1.5))
            process.send_signal(signal.SIGKILL)
            kills += 1
        error = process.communicate()[1]
        if process.returncode != -signal.SIGKILL:
            assert process.returncode == 0, error.decode()[-2000:]
            break
    assert kills >= 3
    one, other = (np.load(tmp_path / f"{name}.npz") for name in ("undisturbed", "resumed"))
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])
