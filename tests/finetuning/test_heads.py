"""A classifier without a number of classes gets its head from the labels."""

import keras
import numpy as np
import pytest

from tests.finetuning.conftest import pictures, small_backbone
from tftransfer.data import Examples
from tftransfer.finetuning import finetune
from tftransfer.finetuning.heads import build_head
from tftransfer.policies import linear_probe
from tftransfer.tasks import Classifier, Regressor

pytestmark = pytest.mark.compute


def test_the_number_of_classes_is_read(data):
    x, y = data
    for labels, classes in ((y, 3), (np.eye(4)[y], 4), (y % 2, 2)):
        task = Classifier(small_backbone())
        assert build_head(task, (x, labels)) == classes == task.num_classes
        assert tuple(task(x[:2]).shape) == (2, classes)
    several = Classifier(small_backbone(), multi_label=True)
    assert build_head(several, (x, np.ones((22, 2)))) == 2
    assert build_head(Classifier(small_backbone()), Examples(x, y, class_names="abcde")) == 5


def test_a_head_that_is_there_stays(data):
    task = Classifier(small_backbone(), 7)
    head = task.head
    assert build_head(task, data) is None and task.head is head
    assert build_head(Regressor(small_backbone()), data) is None


def test_it_then_trains_and_saves(tmp_path):
    data = pictures(24)
    task = Classifier(small_backbone())
    build_head(task, data)
    finetune(task, data, policy=linear_probe(1), verbose=0)
    task.save(tmp_path / "task.keras")
    again = keras.saving.load_model(tmp_path / "task.keras")
    assert again.num_classes == 3
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(again(data[0])), keras.ops.convert_to_numpy(task(data[0])), atol=1e-5
    )


def test_labels_that_do_not_say_it(data):
    for labels in (data[1] * 2, data[1] + 0.5, None):
        with pytest.raises(ValueError, match=r"number of classes|fractional|no labels"):
            build_head(Classifier(small_backbone()), (data[0], labels))
