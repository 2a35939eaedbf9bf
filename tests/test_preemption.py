"""SIGTERM saves and ends; the next start goes on to the weights of the run that was left alone."""

import os
import signal

import keras
import numpy as np
import pytest

from tftransfer import backbones, finetune, objectives, policies, pretrain, tasks
from tftransfer.placement import Workers
from tftransfer.preemption import Preempted, Preemption

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGTERM is handled on POSIX")


class Terminate(keras.callbacks.Callback):
    """What a cloud does in the given step."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def on_train_batch_end(self, batch, logs=None):
        self.at -= 1
        if self.at == 0:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def unchanged():
    """SIGTERM means afterwards what it meant before."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    assert signal.getsignal(signal.SIGTERM) is before


def pretrained(path, **more):
    keras.utils.set_random_seed(0)
    objective = objectives.Autoencoder(backbones.mlp((8,), units=(4,)), noise=0.2)
    x = np.random.default_rng(0).random((40, 8), dtype="float32")
    pretrain(objective, x, epochs=3, batch_size=8, save_to=path, resume=True, verbose=0, **more)
    return objective.get_weights()


def finetuned(path, wrap=lambda data: data, **more):
    keras.utils.set_random_seed(0)
    task = tasks.Classifier(backbones.mlp((8,), units=(4,)), 2, dropout=0.3)
    x, y = np.random.default_rng(0).random((40, 8), dtype="float32"), np.arange(40) % 2
    policy = policies.linear_probe(1) + policies.full(2)
    finetune(task, wrap((x, y)), policy=policy, batch_size=8, cache=False, resume=path, verbose=0, **more)
    return task.get_weights()


def finetuned_on_tf_data(path, **more):
    """The place in a shuffled `tf.data.Dataset` is found again."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("tf.data")
    import tensorflow as tf

    return finetuned(path, wrap=tf.data.Dataset.from_tensor_slices, **more)


@pytest.mark.parametrize("run", [pretrained, finetuned, finetuned_on_tf_data])
@pytest.mark.parametrize("at", [7, 10], ids=["within an epoch", "at its end"])
def test_a_run_that_was_asked_to_end_goes_on(tmp_path, run, at, unchanged, capsys):
    expected = run(tmp_path / "alone.weights.h5")
    path = tmp_path / "run.weights.h5"
    with pytest.raises(Preempted) as ended:
        run(path, callbacks=[Terminate(at)])
    assert ended.value.code == 143
    assert "Asked to end (SIGTERM): the run is saved in" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGTERM) in (signal.SIG_DFL, signal.default_int_handler)
    for one, other in zip(expected, run(path), strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_a_checkpoint_the_signal_is_left_alone(unchanged):
    before = signal.getsignal(signal.SIGTERM)
    with Preemption(Workers(), enabled=False) as preemption:
        assert signal.getsignal(signal.SIGTERM) is before
        assert not preemption.has_come()


def test_workers_meet_once_a_second_and_stop_together(monkeypatch):
    """Two workers, the other one fast, as seen by this one, whose steps take 0.1 s."""
    now, meetings = [0.0], []
    monkeypatch.setattr("tftransfer.preemption.time.monotonic", lambda: now[0])

    class Two(Workers):
        count = 2

        def exchange(self, record):
            meetings.append(now[0])
            return [record, [len(meetings) == 6, 0.01]]

    monkeypatch.setattr(Workers, "__init__", lambda self: None)
    preemption = Preemption(Two())
    steps = 0
    while not preemption.has_come():
        now[0] += 0.1
        steps += 1
    gaps = np.diff([0.0, *meetings])
    assert len(meetings) == 6 and gaps.max() == pytest.approx(1.0, abs=0.11) and gaps[0] <= 0.2


def test_save_every_counts_steps(tmp_path, monkeypatch):
    from tftransfer.checkpoints import Checkpoint

    saved = []
    monkeypatch.setattr(Checkpoint, "_write", lambda self: saved.append(self.step))
    pretrained(tmp_path / "run.weights.h5", save_every=4)
    assert saved == [4, 8, 12]
    for wrong in (0, 1.5, True):
        with pytest.raises(ValueError, match="save_every is a number of steps"):
            pretrained(tmp_path / "run.weights.h5", save_every=wrong)
    with pytest.raises(ValueError, match="save_every=3 needs save_to"):
        objective = objectives.Autoencoder(backbones.mlp((8,), units=(4,)))
        pretrain(objective, np.zeros((8, 8), "float32"), save_every=3)
