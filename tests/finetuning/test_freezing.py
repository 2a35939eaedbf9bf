"""Trainable flags per variable, and what BatchNormalization does in each mode."""

import keras
import numpy as np
import pytest

from tftransfer.finetuning import finetune, variable_paths
from tftransfer.finetuning.freezing import apply_stage
from tftransfer.policies import Stage, full, linear_probe


def snapshot(task):
    return {path: np.array(keras.ops.convert_to_numpy(v)) for path, v in variable_paths(task).items()}


def moved(before, after):
    return {path for path in before if (before[path] != after[path]).any()}


def test_paths_name_the_parts(make_task):
    paths = list(variable_paths(make_task()))
    assert paths[0] == "backbone/conv_00/kernel"
    assert paths[-2:] == ["head/kernel", "head/bias"]
    assert len(paths) == len(make_task().weights)


def test_a_frozen_backbone_does_not_move_at_all(make_task, data):
    task = make_task()
    before = snapshot(task)
    finetune(task, data, policy=linear_probe(2), verbose=0)
    assert moved(before, snapshot(task)) == {"head/kernel", "head/bias"}
    assert len(task.trainable_variables) == 7  # the flags are as they were


@pytest.mark.compute
def test_full_moves_everything_statistics_included(make_task, data):
    task = make_task()
    before = snapshot(task)
    finetune(task, data, policy=full(2, learning_rate=1e-2), verbose=0)
    assert moved(before, snapshot(task)) == set(before)


def test_single_variables_move_and_the_rest_of_their_layer_does_not(make_task, data):
    task = make_task()
    before = snapshot(task)
    stage = Stage("biases", {r"/bias$": 1.0, r".*": 0.0}, epochs=1, learning_rate=1e-2)
    finetune(task, data, policy=stage, verbose=0)
    assert moved(before, snapshot(task)) == {"backbone/conv_01/bias", "head/bias"} | {
        f"backbone/norm_01/{name}"
        for name in ("moving_mean", "moving_variance")  # follows conv_01, which moves
    }


@pytest.mark.parametrize(
    ("mode", "statistics_of"), [("auto", {"norm_00"}), ("frozen", set()), ("live", {"norm_00", "norm_01"})]
)
def test_batch_norm_modes(make_task, data, mode, statistics_of):
    """norm_00 is trained, norm_01 has nothing to train and follows conv_01, which is frozen."""
    task = make_task()
    before = snapshot(task)
    stage = Stage("norm", {r"norm_00|^head": 1.0, r".*": 0.0}, 1, learning_rate=1e-2, batch_norm=mode)
    finetune(task, data, policy=stage, verbose=0)
    changed = moved(before, snapshot(task))
    assert {path.split("/")[1] for path in changed if "moving" in path} == statistics_of
    assert {"backbone/norm_00/gamma", "backbone/norm_00/beta"} <= changed


def test_flags_set_by_hand_are_overridden_but_made_untrainable_stays(make_task):
    task = make_task()
    task.backbone.get_layer("conv_00").trainable = False
    applied = apply_stage(full(1).stages[0], task)
    assert "backbone/conv_00/kernel" in applied.multipliers
    assert not any("moving" in path for path in applied.multipliers)
    apply_stage(linear_probe(1).stages[0], task)
    assert len(task.trainable_variables) == 2
    task.trainable = False
    task.trainable = True
    assert len(task.trainable_variables) == 7


def test_flags_are_put_back_as_they_were(make_task, data):
    task = make_task()
    task.backbone.get_layer("conv_00").trainable = False
    task.backbone.get_layer("norm_00").gamma.trainable = False
    flags = [layer.trainable for layer in task._flatten_layers()]
    variables = [v.trainable for v in task.variables]
    for policy in (linear_probe(1), full(1), linear_probe(1) + full(1)):
        finetune(task, data, policy=policy, verbose=0)
        assert [layer.trainable for layer in task._flatten_layers()] == flags
        assert [v.trainable for v in task.variables] == variables
        task.evaluate(*data, verbose=0)  # compiled, and without a warning of changed flags


def test_a_task_with_half_a_layer_trained_is_saved_and_comes_back(make_task, data, tmp_path):
    task = make_task()
    stage = Stage("biases", {r"/bias$": 1.0, r".*": 0.0}, epochs=1, learning_rate=1e-2)
    finetune(task, data, policy=stage, verbose=0)
    task.save(tmp_path / "task.keras")
    loaded = keras.models.load_model(tmp_path / "task.keras")
    np.testing.assert_allclose(
        loaded.predict(data[0], verbose=0), task.predict(data[0], verbose=0), atol=1e-6
    )


def test_counts(make_task):
    task = make_task()
    applied = apply_stage(linear_probe(1).stages[0], task)
    assert applied.trained == 6 * 3 + 3
    assert applied.trained + applied.frozen == task.count_params()
    assert (applied.batch_norm_live, applied.batch_norm_frozen) == (0, 2)
