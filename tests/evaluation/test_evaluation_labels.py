"""Labels in their several forms."""

import numpy as np
import pytest

from tftransfer.evaluation.labels import class_indices, label_sets


@pytest.mark.parametrize(
    "labels", [[0, 2, 1], [[0], [2], [1]], np.eye(3)[[0, 2, 1]], np.array([0.0, 2.0, 1.0])]
)
def test_class_indices(labels):
    found = class_indices(labels, 3)
    assert found.tolist() == [0, 2, 1] and found.dtype == "int64"


def test_boolean_labels_are_binary():
    assert class_indices(np.array([True, False]), 2).tolist() == [1, 0]
    assert label_sets(np.array([[True, False]]), 2).tolist() == [[1, 0]]


@pytest.mark.parametrize("labels", [None, [], np.zeros((0, 3))])
def test_missing(labels):
    with pytest.raises(ValueError, match="missing"):
        class_indices(labels, 3)
