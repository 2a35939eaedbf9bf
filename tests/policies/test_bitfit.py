"""BitFit: biases and the head."""

import keras
import pytest

import tftransfer as tt
from tftransfer.finetuning import finetune
from tftransfer.policies import bitfit


def test_only_biases_and_the_head_move(make_task, data):
    history = finetune(make_task("cnn"), data, policy=bitfit(1), verbose=0)
    (stage,) = history.stages
    names = {path.rsplit("/", 1)[1] for path in stage["multipliers"] if path.startswith("backbone/")}
    assert names <= {"bias", "beta"}
    assert stage["batch_norm_live"] == 0


def test_a_backbone_without_biases_is_an_error(data):
    bare = keras.Sequential(
        [keras.Input((6, 6, 1)), keras.layers.Conv2D(3, 3, use_bias=False), keras.layers.GlobalMaxPooling2D()]
    )
    with pytest.raises(ValueError, match="is found in no variable path"):
        finetune(tt.tasks.Classifier(bare, num_classes=3), data, policy=bitfit(1), verbose=0)
