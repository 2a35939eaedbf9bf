"""The weights of the best epoch: in memory, on disk, over a kill, and only where they are asked for."""

import keras
import numpy as np
import pytest

from tests.test_pretraining import Crash, always_saving, autoencoder, examples, run  # noqa: F401
from tftransfer import weights
from tftransfer.evaluation import Probe


class Script(keras.callbacks.Callback):
    """Writes down the backbone after each epoch."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(self.model.backbone.get_weights())


@pytest.fixture
def scores(monkeypatch):
    """Probe accuracies that a test chooses, in the order of the epochs."""
    wanted = []

    def score(*arguments):
        return wanted[score.calls.append(1) or len(score.calls) - 1]

    score.calls = []
    monkeypatch.setattr("tftransfer.evaluation.probes.ridge_accuracy", score)
    return wanted, score.calls


PROBED = (examples(), np.arange(40) % 2)


@pytest.mark.parametrize("on_disk", (False, True))
def test_the_best_epoch_is_kept_and_the_first_of_equals(scores, tmp_path, on_disk):
    scores[0][:] = [0.2, 0.7, 0.7, 0.1]
    objective, script = autoencoder(), Script()
    path = tmp_path / "a.weights.h5" if on_disk else None
    options = {"probe_data": PROBED, "keep": "best", "save_to": path, "callbacks": [script]}
    history = run(objective, examples(), epochs=4, **options)
    assert history.best_epoch == 1
    for kept, then in zip(objective.backbone.get_weights(), script.seen[1], strict=True):
        np.testing.assert_array_equal(kept, then)
    if on_disk:
        assert [file.name for file in tmp_path.iterdir()] == ["a.weights.h5"]
        for kept, then in zip(weights.load_backbone(path).get_weights(), script.seen[1], strict=True):
            np.testing.assert_array_equal(kept, then)


def test_the_last_is_kept_unless_told_otherwise(scores):
    scores[0][:] = [0.9, 0.1, 0.1]
    objective, script = autoencoder(), Script()
    history = run(objective, examples(), probe_data=PROBED, callbacks=[script])
    assert history.best_epoch is None
    for kept, then in zip(objective.backbone.get_weights(), script.seen[-1], strict=True):
        np.testing.assert_array_equal(kept, then)


def test_the_best_epoch_survives_a_kill(scores, tmp_path, always_saving):  # noqa: F811
    wanted, calls = scores
    options = {"probe_data": PROBED, "keep": "best", "epochs": 4}
    wanted[:] = [0.2, 0.9, 0.3, 0.4]
    undisturbed, script = autoencoder(), Script()
    run(undisturbed, examples(), callbacks=[script], **options)
    calls.clear()
    path = tmp_path / "a.weights.h5"
    with pytest.raises(RuntimeError, match="power"):
        run(autoencoder(), examples(), save_to=path, callbacks=[Crash(at=12)], **options)
    calls[:] = [1, 1]  # epochs 1 and 2 have been probed
    resumed = autoencoder()
    history = run(resumed, examples(), save_to=path, resume=True, **options)
    assert history.best_epoch == 1
    for kept, then in zip(resumed.backbone.get_weights(), script.seen[1], strict=True):
        np.testing.assert_array_equal(kept, then)


@pytest.mark.parametrize(
    "options", ({"keep": "best"}, {"keep": "first", "probe_data": PROBED}, {"health": "kill"})
)
def test_bad_choices_are_refused_before_any_step(options):
    steps = Crash()
    with pytest.raises(ValueError, match=r"keep is|health is"):
        run(autoencoder(), examples(), callbacks=[steps], **options)
    assert steps.steps == 0


def test_health_joins_the_history_of_pretrain():
    history = run(autoencoder(), examples(), health="warn").history
    assert len(history["effective_rank"]) == len(history["loss"]) == 3


def test_a_collapse_ends_the_run_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.weights.h5"
    run(autoencoder(), examples(), epochs=1, save_to=path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="the run was ended"):
        run(autoencoder(noise=0.0), np.full((40, 8), 0.5, "float32"), save_to=path, health="stop")
    assert path.read_bytes() == before


def test_a_probe_keeps_only_at_its_own_times():
    kept = []
    probe = Probe(autoencoder().backbone, PROBED, every=4, keep=lambda epoch, accuracy: kept.append(epoch))
    probe.set_params({"epochs": 9})
    probe.on_epoch_end(5, {})  # the first epoch after a run went on: looked at, and not to be kept
    assert kept == []
    probe.on_epoch_end(7, {})
    assert kept == [7]
