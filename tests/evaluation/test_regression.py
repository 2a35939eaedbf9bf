"""Regression reports against scikit-learn."""

import json

import numpy as np
import pytest
from sklearn import metrics as sk

from tftransfer.evaluation import RegressionReport


@pytest.fixture
def case():
    random = np.random.default_rng(0)
    labels = random.normal(size=(80, 2)) * [1, 10]
    return labels, labels + random.normal(size=(80, 2)) * [0.3, 5]


def test_agrees_with_scikit_learn(case):
    labels, predictions = case
    report = RegressionReport(labels, predictions, target_names=["width", "height"])
    assert report.metrics["r2"] == pytest.approx(sk.r2_score(labels, predictions))
    assert report.metrics["mean_absolute_error"] == pytest.approx(sk.mean_absolute_error(labels, predictions))
    rmse = sk.root_mean_squared_error(labels, predictions)
    assert report.metrics["root_mean_squared_error"] == pytest.approx(rmse)
    assert report.per_target[1]["target"] == "height"
    assert report.per_target[1]["r2"] == pytest.approx(sk.r2_score(labels[:, 1], predictions[:, 1]))
    assert json.loads(report.to_json())["metrics"]["n"] == 80
    assert "height" in str(report) and "height" in report._repr_html_()


def test_one_target_in_any_shape():
    flat, column = (
        RegressionReport([1.0, 2, 4], [1.0, 2, 3]),
        RegressionReport([[1.0], [2], [4]], [1.0, 2, 3]),
    )
    assert flat.metrics == column.metrics
    assert "1 target\n" in str(flat) and "2 target" not in str(flat)


def test_constant_labels_have_no_r2():
    report = RegressionReport([1.0, 1.0], [1.0, 2.0])
    assert np.isnan(report.metrics["r2"])
    assert json.loads(report.to_json())["metrics"]["r2"] is None


@pytest.mark.parametrize(
    "labels, predictions, says",
    [([1.0], [1.0, 2.0], "one shape"), ([np.nan], [1.0], "labels hold NaN"), ([], [], "n > 0")],
)
def test_bad_input(labels, predictions, says):
    with pytest.raises(ValueError, match=says):
        RegressionReport(labels, predictions)
