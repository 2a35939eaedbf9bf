"""LoRA and adapters in files of their own, and LoRA merged."""

import keras
import numpy as np
import pytest

import tftransfer as tt
from tftransfer.finetuning import finetune
from tftransfer.finetuning.adapter_files import load_adapters, merge_lora, save_adapters
from tftransfer.policies import adapters, full, lora


def build(classes=3):
    keras.utils.set_random_seed(7)
    backbone = tt.backbones.vit((6, 6, 1), patch_size=2, width=8, depth=2, num_heads=2)
    return tt.tasks.Classifier(backbone, num_classes=classes)


@pytest.mark.parametrize(
    "policy",
    [lora(2, alpha=3, targets="attention", epochs=2, learning_rate=1e-2), adapters(3, epochs=2)],
    ids=repr,
)
def test_added_parts_and_head_come_back_on_the_same_backbone(policy, data, tmp_path):
    task = build()
    finetune(task, data, policy=policy, verbose=0)
    save_adapters(task, tmp_path / "task.adapters.h5")
    loaded = load_adapters(build(), tmp_path / "task.adapters.h5")
    np.testing.assert_array_equal(task.predict(data[0], verbose=0), loaded.predict(data[0], verbose=0))
    again = load_adapters(loaded, tmp_path / "task.adapters.h5")
    assert again is loaded
    with pytest.raises(ValueError, match="does not fit this task: head"):
        load_adapters(build(classes=4), tmp_path / "task.adapters.h5")


def test_merging_changes_no_output_and_leaves_plain_layers(data, tmp_path):
    task = build()
    finetune(task, data, policy=lora(2, epochs=2, learning_rate=1e-2), verbose=0)
    before = task.predict(data[0], verbose=0)
    count = len(task.weights)
    assert merge_lora(task) > 0
    np.testing.assert_allclose(task.predict(data[0], verbose=0), before, atol=1e-5)
    assert len(task.weights) < count and len(task.weights) == len(build().weights)
    fresh = build()
    task.save_weights(tmp_path / "merged.weights.h5")
    fresh.load_weights(tmp_path / "merged.weights.h5")
    np.testing.assert_allclose(fresh.predict(data[0], verbose=0), before, atol=1e-5)
    finetune(task, data, policy=full(1), verbose=0)  # everything moves again
    assert merge_lora(task) == 0


def test_a_task_without_either_and_a_foreign_file(data, tmp_path):
    with pytest.raises(ValueError, match="found LoRA ranks"):
        save_adapters(build(), tmp_path / "task.adapters.h5")
    build().save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(ValueError, match="was not written by save_adapters"):
        load_adapters(build(), tmp_path / "other.weights.h5")
