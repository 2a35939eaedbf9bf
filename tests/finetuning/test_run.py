"""One finetune run: what it says, where the head begins, averages that are kept, and runs that go on bit for bit."""

import re

import keras
import numpy as np
import pytest

import tftransfer as tt
from tests.choice import each
from tests.finetuning.conftest import pictures, small_backbone
from tests.finetuning.test_state import Cut
from tftransfer.finetuning import StochasticAverage, finetune, refresh_batch_norm, ridge, state
from tftransfer.policies import Stage, bitfit, full, gradual, layer_decay, linear_probe
from tftransfer.tasks import Classifier


def said(capsys):
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith(("Stage", "  "))]


def test_rates_by_depth(make_task, data, capsys):
    stage = Stage(
        "mine",
        {"^backbone/conv_00": 0.0, "^backbone/norm_00": 0.0, "^head": 1.0, "bias$": 0.5, ".*": 0.25},
        1,
    )
    finetune(make_task(), data, policy=linear_probe(1) + stage, verbose=2)
    lines = said(capsys)
    assert re.search(r"Stage 1 of 2, linear_probe: trains 21 of \d+ parameters", lines[0])
    assert lines[1] == "  Rates from the input to the head: frozen (2 groups), head 0.01."
    assert lines[3] == "  Rates from the input to the head: frozen, 2.5e-05 to 5e-05, head 0.0001."
    finetune(make_task(), data, policy=full(1), verbose=2)
    assert not any("Rates" in line for line in said(capsys))  # one rate for all is in the first line
    finetune(make_task(), data, policy=bitfit(1), verbose=2)
    assert "0.001 in part (2 groups), head 0.001." in said(capsys)[1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"augmentation": keras.layers.RandomFlip()}, "examples are augmented"),
        ({"backbone_dropout": 0.5}, "draws random numbers"),
        ({}, None),
    ],
)
def test_why_what_is_frozen_runs_in_every_step(make_task, data, change, reason, capsys):
    finetune(make_task(**change), data, policy=linear_probe(1) + full(1), verbose=2)
    first, second = (line for line in said(capsys) if line.startswith("Stage"))
    assert ("in every step" in first) == (reason is not None)
    assert reason is None or reason in first
    assert "in every step" not in second  # nothing is frozen there


def test_a_live_normalization_is_a_reason(make_task, data, capsys):
    stage = Stage("live", {"^head": 1.0, ".*": 0.0}, 1, batch_norm="live")
    finetune(make_task(), data, policy=stage, verbose=2)
    assert "is live)" in said(capsys)[0]


def test_seconds_are_told_once_and_known_to_the_next_run(make_task, data, capsys):
    task = make_task()
    history = finetune(task, data, policy=full(4, learning_rate=1e-3), batch_size=4, verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if re.search(r"^  4 epochs take about [\d.e-]+ s\.$", line)]) == 1
    assert history.stages[0]["seconds"] > 0
    finetune(task, data, policy=full(4, learning_rate=1e-3), batch_size=4, verbose=2)
    assert re.search(r"; about [\d.e-]+ s\.$", said(capsys)[0])
    finetune(task, data, policy=full(4, learning_rate=1e-3), batch_size=4, verbose=0)
    assert not capsys.readouterr().out


@pytest.mark.compute
@pytest.mark.parametrize("cached", [True, False])
def test_a_probe_may_begin_with_the_ridge_solution(make_task, data, monkeypatch, cached, capsys):
    passes = []
    plain = tt.finetuning.features.Embedder.predict_on_batch
    monkeypatch.setattr(
        tt.finetuning.features.Embedder,
        "predict_on_batch",
        lambda self, x: (passes.append(len(x)), plain(self, x))[1],
    )
    options = {} if cached else {"cache": False}
    tiny = linear_probe(1, learning_rate=1e-9, init="ridge")
    task, by_hand = make_task(), make_task()
    finetune(task, data, policy=tiny, verbose=2, **options)
    assert sum(passes) == 22  # each example once
    assert "ridge solution" in capsys.readouterr().out
    ridge.ridge_head(by_hand, data)
    for one, other in zip(task.head.get_weights(), by_hand.head.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_the_best_epoch_survives_a_ridge_start_later_on(make_task, data, validation):
    """The first stage leaves the head alone; the second one replaces it."""
    first = Stage("body", {"^head": 0.0, ".*": 1.0}, 1, learning_rate=1e-4)
    second = linear_probe(1, init="ridge")
    kept = []

    class Remember(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            kept.append([np.array(w) for w in self.model.get_weights()])
            logs["val_made_up_loss"] = epoch  # the first is the best

    task = make_task()
    options = {"validation_data": validation, "monitor": "val_made_up_loss", "verbose": 0}
    history = finetune(task, data, policy=first + second, callbacks=[Remember()], **options)
    assert history.best_epoch == 0
    for one, other in zip(task.get_weights(), kept[0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert any((one != other).any() for one, other in zip(*kept, strict=True))


def test_a_head_without_a_closed_form_is_refused_before_any_step(data):
    head = keras.Sequential([keras.layers.Dense(5), keras.layers.Dense(3)])
    task = Classifier(small_backbone(), 3, head=head)
    with pytest.raises(ValueError, match="linear Dense"):
        finetune(task, data, policy=full(1) + linear_probe(1, init="ridge"), verbose=0)
    assert not task.compiled
    with pytest.raises(ValueError, match="init"):
        linear_probe(1, init="zeros")


@pytest.mark.compute
@pytest.mark.parametrize("stage", ["probe", pytest.param("gradual", marks=pytest.mark.thorough)])
def test_an_optimizer_with_use_ema_is_enough(make_task, stage):
    """Validation, the best epoch and the end are of the average, also on cached features."""
    data, validation = pictures(48), pictures(30, seed=1)
    policy = {
        "probe": linear_probe(2) + full(3, learning_rate=3e-3),
        "gradual": gradual(3, epochs=2, learning_rate=3e-3),
    }[stage]
    task = make_task()
    history = finetune(
        task,
        data,
        validation_data=validation,
        policy=policy,
        optimizer=keras.optimizers.Adam(use_ema=True, ema_momentum=0.9),
        monitor="val_loss",
        verbose=0,
    )
    losses = history.history["val_loss"]
    assert history.best_epoch == int(np.argmin(losses))
    assert task.evaluate(*validation, verbose=0)[0] == pytest.approx(min(losses), rel=1e-3)
    kept = [np.array(w) for w in task.get_weights()]
    task.trainable = True
    refresh_batch_norm(task, data)
    if stage == "probe" and history.best_epoch > 1:
        for one, other in zip(kept, task.get_weights(), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_averages_need_no_data_of_their_own(make_task, data, validation):
    """finetune hands them the training examples; the callback itself stays as the user made it."""
    average = StochasticAverage(start=0.0)
    task = make_task()
    history = finetune(
        task,
        data,
        validation_data=validation,
        policy=full(2, learning_rate=1e-3),
        callbacks=[average],
        monitor="val_loss",
        verbose=0,
    )
    assert average.data is None
    assert task.evaluate(*validation, verbose=0)[0] == pytest.approx(
        min(history.history["val_loss"]), rel=1e-3
    )


def small():
    keras.utils.set_random_seed(5)
    return Classifier(small_backbone(), 3, dropout=0.3)


RUNS = {
    "ema": lambda: {
        "policy": linear_probe(2) + full(3, learning_rate=1e-3),
        "optimizer": keras.optimizers.Adam(use_ema=True, ema_momentum=0.8),
    },
    "mixing": lambda: {
        "policy": full(4, learning_rate=1e-3),
        "mixing": keras.layers.MixUp(0.8),
        "class_weight": {0: 1.0, 1: 2.0, 2: 1.0},
    },
    "accumulation and ridge": lambda: {
        "policy": linear_probe(2, init="ridge") + layer_decay(0.5, epochs=3, learning_rate=1e-3),
        "accumulate": 2,
        "label_smoothing": 0.1,
        "class_weight": "balanced",
    },
}


@pytest.mark.parametrize("name", each(RUNS, [name for name in RUNS if "and" in name]))
def test_cut_runs_end_with_the_same_weights(name, data, validation, tmp_path, monkeypatch):
    monkeypatch.setattr(state, "SECONDS", 0.0)
    options = {"batch_size": 8, "validation_data": validation, "verbose": 0}
    undisturbed = small()
    history = finetune(undisturbed, data, **RUNS[name](), **options)
    path, cuts = tmp_path / "run.h5", 0
    for after in (4, 5, 100):
        task = small()
        try:
            resumed = finetune(task, data, resume=path, callbacks=[Cut(after)], **RUNS[name](), **options)
            break
        except KeyboardInterrupt:
            cuts += 1
    assert cuts == 2
    for one, other in zip(undisturbed.get_weights(), task.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(resumed.history["val_loss"], history.history["val_loss"])


def test_a_run_cut_after_its_last_epoch_still_ends_with_the_average(data, tmp_path, monkeypatch):
    monkeypatch.setattr(state, "SECONDS", 0.0)

    def options():
        return {
            "policy": full(2, learning_rate=1e-2),
            "optimizer": keras.optimizers.Adam(use_ema=True, ema_momentum=0.8),
            "batch_size": 8,
            "verbose": 0,
        }

    class CutAtTheEnd(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            raise KeyboardInterrupt

    undisturbed, task = small(), small()
    finetune(undisturbed, data, **options())
    path = tmp_path / "run.h5"
    with pytest.raises(KeyboardInterrupt):
        finetune(small(), data, resume=path, callbacks=[CutAtTheEnd()], **options())
    finetune(task, data, resume=path, **options())
    for one, other in zip(undisturbed.get_weights(), task.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_state_of_a_run_with_other_arguments_is_refused(data, tmp_path, monkeypatch):
    monkeypatch.setattr(state, "SECONDS", 0.0)
    given = {"policy": full(2), "resume": tmp_path / "run.h5", "verbose": 0}
    with pytest.raises(KeyboardInterrupt):
        finetune(small(), data, callbacks=[Cut(1)], **given)
    for change in (
        {"class_weight": "balanced"},
        {"label_smoothing": 0.1},
        {"mixing": keras.layers.MixUp(0.2)},
        {"accumulate": 2},
        {"policy": Stage("full", {".*": 1.0}, 2, schedule="one_cycle")},
        {"policy": Stage("full", {".*": 1.0}, 2, batch_norm="frozen")},
    ):
        with pytest.raises(ValueError, match="belongs to a run that was started with"):
            finetune(small(), data, **{**given, **change})


@pytest.mark.compute
def test_clipping_is_by_the_norm_of_all_that_is_trained():
    """One step of SGD on a linear model in NumPy: multipliers do not enter the norm, nor does what is frozen."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(12, 4)).astype("float32"), np.arange(12) % 3
    keras.utils.set_random_seed(2)
    layers = keras.layers
    backbone = keras.Sequential(
        [keras.Input((4,)), layers.Dense(5, name="frozen"), layers.Dense(4, name="slow")]
    )
    task = Classifier(backbone, 3)
    frozen, slow, head = (
        [np.array(w, "float64") for w in layer.get_weights()] for layer in (*backbone.layers, task.head)
    )
    stage = Stage(
        "one", {"frozen": 0.0, "slow": 0.25, "head": 1.0}, 1, learning_rate=0.1, schedule="constant"
    )
    sgd = keras.optimizers.SGD(global_clipnorm=0.05)
    finetune(task, (x, y), policy=stage, optimizer=sgd, batch_size=12, verbose=0)

    hidden = x @ frozen[0] + frozen[1]
    embedding = hidden @ slow[0] + slow[1]
    logits = embedding @ head[0] + head[1]
    p = np.exp(logits - logits.max(1, keepdims=True))
    error = (p / p.sum(1, keepdims=True) - np.eye(3)[y]) / 12
    back = error @ head[0].T
    gradients = [hidden.T @ back, back.sum(0), embedding.T @ error, error.sum(0)]
    norm = np.sqrt(sum((g**2).sum() for g in gradients))
    assert norm > 0.05
    steps = [rate * 0.05 / norm * g for rate, g in zip((0.025, 0.025, 0.1, 0.1), gradients, strict=True)]
    for before, step, now in zip(
        [*slow, *head], steps, [*backbone.layers[1].get_weights(), *task.head.get_weights()], strict=True
    ):
        np.testing.assert_allclose(now, before - step, atol=1e-6)
    for before, now in zip(frozen, backbone.layers[0].get_weights(), strict=True):
        np.testing.assert_array_equal(before.astype("float32"), now)
