"""Intervals against scipy.stats, and what they say of a single draw."""

import numpy as np
import pytest
from scipy import stats

from tftransfer.evaluation import Interval, mean_interval, paired_interval

VALUES = np.array([0.91, 0.93, 0.88, 0.94, 0.90, 0.925])
BASELINE = np.array([0.82, 0.86, 0.80, 0.84, 0.85, 0.81])


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("n", [2, 3, 6])
def test_mean_interval_is_scipys(n, confidence):
    values = VALUES[:n]
    low, high = stats.t.interval(confidence, n - 1, loc=values.mean(), scale=stats.sem(values))
    interval = mean_interval(values, confidence=confidence)
    np.testing.assert_allclose(interval, (values.mean(), low, high, n), rtol=1e-12)


def test_paired_interval_is_that_of_the_paired_t_test():
    expected = stats.ttest_rel(VALUES, BASELINE).confidence_interval(0.95)
    interval = paired_interval(VALUES, BASELINE)
    np.testing.assert_allclose((interval.low, interval.high), (expected.low, expected.high), rtol=1e-12)
    assert interval.mean == pytest.approx((VALUES - BASELINE).mean())


def test_pairing_narrows_the_interval_where_draws_move_both_arms():
    hard_and_easy = np.array([0.0, 0.1, 0.2, 0.3])
    paired = paired_interval(hard_and_easy + 0.05 + 0.001 * np.arange(4), hard_and_easy)
    assert paired.half_width < 0.1 * mean_interval(hard_and_easy).half_width


def test_coverage_of_the_mean():
    random = np.random.default_rng(0)
    intervals = [mean_interval(random.normal(3, 2, 5)) for _ in range(2000)]
    share = np.mean([interval.low < 3 < interval.high for interval in intervals])
    assert 0.935 < share < 0.965


def test_one_draw_has_no_interval():
    interval = mean_interval([0.5])
    assert interval.mean == 0.5 and np.isnan(interval.low) and np.isnan(interval.high)
    assert f"{interval:.2f}" == "0.50"


def test_equal_draws_have_an_empty_interval():
    assert mean_interval([0.25, 0.25, 0.25]) == Interval(0.25, 0.25, 0.25, 3)


def test_format_keeps_the_sign_for_the_mean():
    assert f"{Interval(0.1, 0.05, 0.15, 4):+.2f}" == "+0.10 ± 0.05"
    assert str(Interval(-0.1, -0.15, -0.05, 4)) == "-0.100 ± 0.050"


@pytest.mark.parametrize("values", [[], [[0.1, 0.2]], [0.1, np.nan], 0.5])
def test_bad_values(values):
    with pytest.raises(ValueError, match="values must"):
        mean_interval(values)


def test_bad_confidence_and_lengths():
    with pytest.raises(ValueError, match="confidence"):
        mean_interval([0.1, 0.2], confidence=95)
    with pytest.raises(ValueError, match="same draws"):
        paired_interval([0.1, 0.2], [0.1])
