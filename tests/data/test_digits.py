"""scikit-learn's digits."""

import numpy as np
import pytest

from tftransfer.data import load_digits


def test_splits_are_disjoint_stratified_and_fixed():
    training, test = load_digits(), load_digits("test")
    assert training.x.shape == (1257, 8, 8, 1) and test.x.shape == (540, 8, 8, 1)
    assert training.x.dtype == np.float32 and training.x.min() == 0 and training.x.max() == 1
    assert np.abs(np.bincount(training.y) / 1257 - np.bincount(test.y) / 540).max() < 0.002
    assert test.class_names == [str(i) for i in range(10)]
    # Fixed for ever: published figures depend on which pictures are held out.
    np.testing.assert_array_equal(test.y[:8], [0, 1, 4, 5, 8, 5, 6, 5])


def test_unknown_split_raises():
    with pytest.raises(ValueError, match="train, test"):
        load_digits("validation")
