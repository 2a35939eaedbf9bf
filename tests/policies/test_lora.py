"""LoRA: kernels bit-identical, the update of the paper, and clear words where it cannot be."""

import keras
import numpy as np
import pytest

from tftransfer.finetuning import finetune
from tftransfer.policies import full, lora


def test_the_kernels_do_not_change_by_a_bit(make_task, data, snapshot):
    task = make_task()
    before = snapshot(task)
    history = finetune(task, data, policy=lora(2, epochs=4), verbose=0)
    after = snapshot(task)
    for path in before:
        if path.startswith("backbone/"):
            np.testing.assert_array_equal(before[path], after[path])
    added = set(after) - set(before)
    assert added and all("lora_kernel" in path for path in added)
    assert set(history.stages[0]["multipliers"]) == added | {"head/kernel", "head/bias"}


def test_the_update_is_alpha_over_rank_times_the_product(make_task, data):
    task = make_task()
    layer = task.backbone.get_layer("trunk").get_layer("block_00").mlp_1
    before = layer.kernel.numpy()
    finetune(task, data, policy=lora(2, alpha=6, epochs=4, learning_rate=1e-2), verbose=0)
    product = layer.lora_kernel_a.numpy() @ layer.lora_kernel_b.numpy()
    effective = keras.ops.convert_to_numpy(layer.kernel)
    np.testing.assert_allclose(effective, before + 3.0 * product, atol=1e-6)
    assert np.abs(effective - before).max() > 1e-4


def test_targets_choose_the_kernels(make_task, data):
    task = make_task()
    finetune(task, data, policy=lora(2, targets="attention/qkv", epochs=1), verbose=0)
    block = task.backbone.get_layer("trunk").get_layer("block_01")
    assert block.attention.qkv.lora_enabled and not block.mlp_1.lora_enabled


def test_a_second_stage_goes_on_and_full_may_follow(make_task, data):
    history = finetune(make_task(), data, policy=lora(2, epochs=1) + lora(2, epochs=1) + full(1), verbose=0)
    first, second, last = (set(stage["multipliers"]) for stage in history.stages)
    assert first == second < last


def test_no_target_is_an_error(make_task, data):
    with pytest.raises(ValueError, match=r"is found by targets='nowhere'"):
        finetune(make_task("cnn"), data, policy=lora(2, targets="nowhere", epochs=1), verbose=0)
    with pytest.raises(ValueError, match="rank must be"):
        lora(0)
