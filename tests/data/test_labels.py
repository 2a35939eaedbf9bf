"""Labels that a task cannot learn from are refused."""

import numpy as np
import pytest

from tftransfer.data import check_labels

ONE_HOT = np.eye(3)[[0, 1, 2, 0]]


@pytest.mark.parametrize(
    ("y", "options"),
    [
        ([0, 1, 2], {"num_classes": 3}),
        ([[0], [1], [2]], {"num_classes": 3}),
        ([0.0, 1.0], {"num_classes": 2}),
        ([0, 1, 0], {"num_classes": 1}),
        ([True, False], {"num_classes": 1}),
        (ONE_HOT, {"num_classes": 3}),
        (ONE_HOT * 0.9 + 0.1 / 3, {"num_classes": 3}),
        ([2, 2], {"num_classes": 3, "training": False}),
        ([[0, 1, 1], [0, 0, 0]], {"num_classes": 3, "task": "multi_label"}),
        ([0.5, -1.5], {"task": "regression"}),
        ([[0.5, 1], [2, 3]], {"task": "regression", "num_classes": 2}),
    ],
)
def test_good_labels_pass(y, options):
    assert check_labels(y, **options) is None


@pytest.mark.parametrize(
    ("y", "options", "match"),
    [
        (None, {}, "no labels"),
        (["cat", "dog"], {}, "np.unique"),
        ([0, np.nan], {}, "NaN or infinite labels in 1 rows .the first: 1"),
        ([0, 1, 3], {"num_classes": 3}, "Raise num_classes to 4"),
        ([1, 2, 3], {"num_classes": 3}, "subtract 1"),
        ([-1, 0, 1], {}, "labels start at 0"),
        ([0, 1, 2], {"num_classes": 1}, "num_classes=1 allows 0 to 1"),
        ([0.5, 1.0], {}, "Regressor"),
        ([1, 1, 1], {"num_classes": 3}, "one class only"),
        ([0, 1], {"num_classes": 3}, "2 examples for 3 classes"),
        (ONE_HOT, {"num_classes": 4}, "3 classes, but num_classes=4"),
        ([[1, 1, 0], [0, 1, 0]], {"num_classes": 3}, "multi_label=True"),
        (np.zeros((2, 2, 2)), {}, "class numbers"),
        ([0, 1], {"task": "multi_label", "num_classes": 2}, "MultiLabelBinarizer"),
        ([[0, 2], [1, 0]], {"task": "multi_label"}, "0 or 1"),
        ([[0.5, 1]], {"task": "regression", "num_classes": 1}, "targets"),
    ],
)
def test_bad_labels_raise(y, options, match):
    with pytest.raises(ValueError, match=match):
        check_labels(y, **options)
