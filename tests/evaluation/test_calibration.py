"""Calibration error against closed forms and a plain loop over the paper's formula."""

import numpy as np
import pytest

from tftransfer.evaluation import expected_calibration_error, reliability


def by_the_formula(confidence, correct, bins):
    """Guo et al. 2017, equation 3, as a loop."""
    error = 0.0
    for m in range(1, bins + 1):
        inside = [
            i for i, p in enumerate(confidence) if (m - 1) / bins < p <= m / bins or (m == 1 and p == 0)
        ]
        if inside:
            gap = abs(np.mean([correct[i] for i in inside]) - np.mean([confidence[i] for i in inside]))
            error += len(inside) / len(confidence) * gap
    return error


@pytest.mark.parametrize("bins", [1, 2, 7, 10])
def test_formula(bins):
    random = np.random.default_rng(bins)
    confidence, correct = random.random(200), random.integers(0, 2, 200)
    assert expected_calibration_error(confidence, correct, bins=bins) == pytest.approx(
        by_the_formula(confidence, correct, bins), abs=1e-12
    )


def test_closed_forms():
    assert expected_calibration_error([1.0] * 4, [1, 1, 1, 1]) == 0
    assert expected_calibration_error([1.0] * 4, [0, 0, 0, 0]) == 1
    assert expected_calibration_error([0.75] * 4, [1, 1, 1, 0]) == pytest.approx(0)
    # two bins: 0.25 · |0 - 0.3| + 0.75 · |2/3 - 0.9|
    assert expected_calibration_error([0.3, 0.9, 0.9, 0.9], [0, 1, 1, 0], bins=2) == pytest.approx(0.25)


def test_one_bin_is_the_gap_of_the_means():
    random = np.random.default_rng(1)
    confidence, correct = random.random(50), random.integers(0, 2, 50)
    gap = abs(confidence.mean() - correct.mean())
    assert expected_calibration_error(confidence, correct, bins=1) == pytest.approx(gap)


def test_calibrated_predictions_have_a_small_error_and_order_does_not_matter():
    random = np.random.default_rng(2)
    confidence = random.random(200_000)
    correct = random.random(200_000) < confidence
    error = expected_calibration_error(confidence, correct)
    assert error < 0.01
    order = random.permutation(200_000)
    assert expected_calibration_error(confidence[order], correct[order]) == pytest.approx(error, abs=1e-12)


def test_bins_are_open_on_the_left():
    table = reliability([0.0, 0.5, 0.5001, 1.0], [1, 1, 0, 1], bins=2)
    assert table.count.tolist() == [2, 2]
    assert table.accuracy.tolist() == [1.0, 0.5]


def test_empty_bins_are_nan():
    table = reliability([0.9], [1], bins=3)
    assert np.isnan(table.accuracy[:2]).all() and table.count.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    "confidence, correct, bins",
    [([], [], 5), ([0.5], [1, 0], 5), ([1.2], [1], 5), ([np.nan], [1], 5), ([0.5], [1], 0)],
)
def test_bad_input(confidence, correct, bins):
    with pytest.raises(ValueError):
        reliability(confidence, correct, bins=bins)
