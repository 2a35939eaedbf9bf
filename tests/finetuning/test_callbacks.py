"""The best epoch over stages, the stop at a bad loss, and how long a stage takes, without a run around them."""

import keras
import numpy as np
import pytest

from tftransfer.finetuning import callbacks
from tftransfer.finetuning.callbacks import BestEpoch, Pace, best_epoch, stop_on_bad_loss
from tftransfer.guards import LossNotFinite


def variables(*values):
    return [keras.Variable(np.full(2, value, "float32")) for value in values]


def read(variable):
    return float(keras.ops.convert_to_numpy(variable)[0])


def test_the_best_epoch_is_put_back_with_what_changed_after_it():
    first, second = variables(1, 10)
    best = BestEpoch("val_accuracy", "max")
    best.begin_stage([first])
    for epoch, (accuracy, value) in enumerate([(0.5, 2), (0.8, 3), (0.7, 4)]):
        first.assign(np.full(2, value))
        best.on_epoch_end(epoch, {"val_accuracy": accuracy})
    best.begin_stage([second])  # now it moves too, and was 10 at the best epoch
    second.assign(np.full(2, 20))
    best.on_epoch_end(3, {"val_accuracy": 0.6})
    best.restore()
    assert (read(first), read(second), best.epoch, best.value) == (3, 10, 1, 0.8)


def test_equal_figures_are_told_apart_by_the_loss():
    (variable,) = variables(0)
    best = BestEpoch("val_accuracy", "max")
    best.begin_stage([variable])
    for epoch, loss in enumerate([0.5, 0.4, 0.6]):
        variable.assign(np.full(2, epoch))
        best.on_epoch_end(epoch, {"val_accuracy": 1.0, "val_loss": loss})
    best.restore()
    assert (best.epoch, read(variable)) == (1, 1)


def test_improvements_are_handed_on():
    kept = []
    best = BestEpoch("val_loss", "min", keep=lambda best: kept.append((best.epoch, best.value)))
    best.begin_stage(variables(0))
    for epoch, loss in enumerate([0.5, 0.7, 0.4]):
        best.on_epoch_end(epoch, {"val_loss": loss})
    assert kept == [(0, 0.5), (2, 0.4)]


@pytest.mark.parametrize(
    ("monitor", "metrics", "expected"),
    [
        ("auto", [keras.metrics.BinaryAccuracy(name="accuracy")], ("val_accuracy", 1)),
        ("auto", [keras.metrics.MeanAbsoluteError(name="mae")], ("val_mae", -1)),
        ("auto", [], ("val_loss", -1)),
        ("val_error_rate", [], ("val_error_rate", -1)),
        ("val_f1", [], ("val_f1", 1)),
    ],
)
def test_whether_more_is_better(monitor, metrics, expected):
    best = best_epoch(monitor, metrics)
    assert (best.monitor, best.sign) == expected


def test_an_unknown_figure_says_which_there_are():
    with pytest.raises(ValueError, match=r"val_f1.*\['loss', 'val_loss'\]"):
        best_epoch("val_f1", []).on_epoch_end(0, {"val_loss": 1.0, "loss": 1.0})


def test_a_bad_loss_names_stage_and_rate():
    stop = stop_on_bad_loss("full", 0.5)
    stop.on_epoch_begin(1)
    stop.on_train_batch_end(0, {"loss": 1.0})
    with pytest.raises(LossNotFinite, match=r"epoch 2, step 51 of stage 'full'.*it was 0\.5"):
        stop.on_train_batch_end(50, {"loss": float("inf")})
    with pytest.raises(ValueError, match="lower the learning rate"):
        stop.on_epoch_end(1, {"loss": float("nan")})


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now[0])
    return now


def test_pace_leaves_the_first_step_out_and_speaks_once(clock):
    said = []
    pace = Pace(said.append, 10, 4)
    pace.on_train_begin()
    for epoch in range(3):
        for step in range(4):
            clock[0] += 30.0 if epoch == step == 0 else 0.5
            pace.on_train_batch_end(step)
        pace.on_epoch_end(epoch)
    assert said == ["  10 epochs take about 20 s."] and pace.seconds_per_step == 0.5


def test_pace_of_long_epochs_is_told_within_them(clock):
    said = []
    pace = Pace(said.append, 2, 1000)
    pace.on_train_begin()
    for step in range(20):
        clock[0] += 0.6
        pace.on_train_batch_end(step)
    pace.on_epoch_end(0)
    assert said == ["\n  2 epochs take about 1.2e+03 s, validation not counted."]


def test_pace_of_one_step_is_not_known(clock):
    pace = Pace(lambda words: pytest.fail(words), 1, 1)
    pace.on_train_begin()
    pace.on_train_batch_end(0)
    pace.on_epoch_end(0)
    assert pace.seconds_per_step is None
