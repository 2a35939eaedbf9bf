"""cross_validate(): folds as by hand, one pass through what is frozen, and the task as it was."""

import json

import keras
import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

from tftransfer.backbones import mlp
from tftransfer.data import Examples
from tftransfer.evaluation import CrossValidation, RegressionReport, Report, cross_validate, evaluate
from tftransfer.finetuning import features, finetune
from tftransfer.policies import full, linear_probe
from tftransfer.tasks import Classifier, Regressor

pytestmark = pytest.mark.compute

random = np.random.default_rng(0)
Y = np.arange(60) % 3
X = (random.normal(size=(60, 6)) + 1.5 * np.eye(6)[Y]).astype("float32")
PROBE = linear_probe(epochs=3, learning_rate=1e-2)


@pytest.fixture
def counted(monkeypatch):
    plain, rows = features.Embedder.predict_on_batch, []
    monkeypatch.setattr(
        features.Embedder, "predict_on_batch", lambda self, x: (rows.append(len(x)), plain(self, x))[1]
    )
    return rows


@pytest.fixture
def backbone():
    keras.utils.set_random_seed(7)
    return mlp((6,), units=(8, 8))


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_folds_are_finetune_and_evaluate_by_hand(backbone, counted, cache):
    task = Classifier(backbone, num_classes=3)
    start = task.get_weights()
    policy = PROBE + full(1, learning_rate=1e-3)
    found = cross_validate(
        task, Examples(X, Y, class_names=list("abc")), folds=3, policy=policy, cache=cache, verbose=0
    )
    assert sum(counted) == 60  # each example once, for all folds
    for one, other in zip(task.get_weights(), start, strict=True):
        np.testing.assert_array_equal(one, other)
    split = StratifiedKFold(3, shuffle=True, random_state=0).split(X, Y)
    for number, (training, tested) in enumerate(split):
        keras.utils.set_random_seed(number)
        task.set_weights(start)
        head = keras.layers.Dense(3)
        head.build((None, 8))
        task.head.set_weights(head.get_weights())
        finetune(task, (X[training], Y[training]), policy=policy, seed=number, verbose=0)
        report = evaluate(task, (X[tested], Y[tested]), verbose=0)
        assert found.folds[number].metrics["log_loss"] == pytest.approx(report.metrics["log_loss"], abs=1e-5)
        assert len(found.folds[number].labels) == 20
    assert found.folds[0].class_names == ["a", "b", "c"]


def test_a_function_that_makes_tasks_and_every_example_is_tested_once(backbone, counted):
    start = backbone.get_weights()

    def make():
        backbone.set_weights(start)
        return Classifier(backbone)

    found = cross_validate(make, (X, np.eye(3)[Y]), folds=4, policy=PROBE, verbose=0)
    assert sum(counted) == 60 and len(found.folds) == 4 and len(found.seconds) == 4
    assert sum(len(fold.labels) for fold in found.folds) == 60
    assert found.metrics["accuracy"].mean == pytest.approx(
        np.mean([fold.metrics["accuracy"] for fold in found.folds])
    )


def test_frozen_weights_that_differ_are_not_shared(backbone, counted):
    def make():
        made = Classifier(backbone, num_classes=3)
        first = backbone.weights[0]
        first.assign(first + 0.01)
        return made

    cross_validate(make, (X, Y), folds=3, policy=PROBE, verbose=0)
    assert sum(counted) == 60 + 40 + 40


def test_regression(backbone):
    found = cross_validate(Regressor(backbone), (X, X[:, :1]), folds=2, policy=PROBE, verbose=0)
    assert all(isinstance(fold, RegressionReport) for fold in found.folds) and "accuracy" not in found.metrics


def test_the_interval_minds_what_folds_share():
    accuracies = [0.75, 0.5, 1.0]
    reports = [Report([0, 0, 1, 1], [1 - a, 0.1, 0.9, 0.9]) for a in (0.4, 0.7, 0.8)]
    reports = [
        Report(np.zeros(4, int), np.array([[1, 0]] * int(4 * a) + [[0, 1]] * int(4 - 4 * a)))
        for a in accuracies
    ]
    interval = CrossValidation(reports).metrics["accuracy"]
    half = 4.302653 * np.std(accuracies, ddof=1) * np.sqrt(1 / 3 + 1 / 2)
    assert interval.mean == pytest.approx(0.75) and interval.half_width == pytest.approx(half, rel=1e-5)


def test_how_it_shows(backbone, tmp_path):
    found = cross_validate(Classifier(backbone, num_classes=3), (X, Y), folds=2, policy=PROBE, verbose=0)
    assert "mean" in str(found) and "±" in str(found) and "CrossValidation of 2 folds" in repr(found)
    assert "<table" in found._repr_html_()
    found.plot(tmp_path / "folds.png")
    kept = json.loads(found.to_json(tmp_path / "folds.json"))
    assert len(kept["folds"]) == 2 and kept["metrics"]["accuracy"]["n"] == 2


def test_refusals(backbone):
    task = Classifier(backbone, num_classes=3)
    for folds in (1, 2.0, True, 61):
        with pytest.raises(ValueError, match="folds is a whole number"):
            cross_validate(task, (X, Y), folds=folds)
    with pytest.raises(ValueError, match="smallest class has 20"):
        cross_validate(task, (X, Y), folds=21)
    with pytest.raises(ValueError, match="labelled examples"):
        cross_validate(task, X)
    with pytest.raises(ValueError, match="takes a task"):
        cross_validate(backbone, (X, Y))
    with pytest.raises(ValueError, match="two folds or more"):
        CrossValidation([])
