"""BYOL's loss against the formula; its teacher against averages computed by hand."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.objectives.conftest import tiny_backbone
from tftransfer.objectives import BYOL
from tftransfer.objectives.byol import prediction_error

pytestmark = pytest.mark.compute


def test_equals_the_papers_formula():
    p, t = np.random.default_rng(0).normal(size=(2, 6, 5))
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (p, t)]
    expected = ((unit[0] - unit[1]) ** 2).sum(axis=1).mean()  # equation 2 of Grill et al. (2020)
    assert float(prediction_error(p, t)) == pytest.approx(expected, rel=1e-5)
    assert float(prediction_error(p, p)) == pytest.approx(0, abs=1e-6)
    assert float(prediction_error(p, -p)) == pytest.approx(4, rel=1e-6)


def test_loss_adds_both_directions():
    objective = BYOL(tiny_backbone("cnn"))
    draw = np.random.default_rng(0).normal(size=(4, 6, 5)).astype("float32")
    names = ("predictions_1", "predictions_2", "targets_1", "targets_2")
    loss = float(objective.compute_objective(dict(zip(names, draw, strict=True))))
    expected = float(prediction_error(draw[0], draw[3])) + float(prediction_error(draw[1], draw[2]))
    assert loss == pytest.approx(expected, rel=1e-6)


def test_the_teacher_starts_as_the_student_and_is_no_part_of_the_backbone():
    objective = BYOL(tiny_backbone("cnn"))
    own = {id(v) for v in objective.backbone.variables}
    assert not own & {id(v) for v in objective.teacher.variables}
    assert not objective.teacher.trainable_variables
    for a, b in zip(objective.teacher.stages[0].get_weights(), objective.backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_teacher_is_the_published_average(pictures):
    """`ξ ← m ξ + (1 - m) θ` after every step but the last, whose average the next step would take."""
    steps, momentum = 8, 0.9
    batches = np.concatenate([pictures, pictures]).reshape(steps, 8, 8, 8, 1)
    seen, averages = [], {}
    for execution in (1, 4):
        keras.utils.set_random_seed(0)
        objective = BYOL(tiny_backbone("cnn"), momentum=momentum)
        objective.plan(steps)
        teacher, student = objective.teacher._pairs[0]
        objective.compile(keras.optimizers.SGD(0.1), steps_per_execution=execution)
        if execution == 1:
            seen.append(ops.convert_to_numpy(student))
            for batch in batches:
                objective.train_on_batch(batch)
                seen.append(ops.convert_to_numpy(student))
        else:
            objective.fit(batches.reshape(-1, 8, 8, 1), batch_size=8, shuffle=False, verbose=0)
            np.testing.assert_allclose(ops.convert_to_numpy(student), seen[-1], atol=1e-5)
        averages[execution] = ops.convert_to_numpy(teacher)
    average = seen[0].astype("float64")
    for k in range(steps):
        share = 1 - (1 - momentum) * (1 + np.cos(np.pi * k / steps)) / 2
        average = share * average + (1 - share) * seen[k]
    assert np.abs(seen[-1] - seen[0]).max() > 1e-3
    np.testing.assert_allclose(averages[1], average, atol=1e-6)
    np.testing.assert_allclose(averages[4], average, atol=1e-5)


def test_the_average_is_taken_in_float32_under_mixed_precision(pictures):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        objective = BYOL(tiny_backbone("cnn"), momentum=0.9)
        teacher, student = objective.teacher._pairs[0]
        student.assign(teacher + 1e-3)
        expected = 0.9 * ops.convert_to_numpy(teacher) + 0.1 * ops.convert_to_numpy(student)
        objective(pictures, training=True)
    finally:
        keras.config.set_dtype_policy(policy)
    np.testing.assert_allclose(ops.convert_to_numpy(teacher), expected, atol=1e-6)


@pytest.mark.parametrize("momentum", [-0.1, 1.1])
def test_refuses_a_momentum_outside_0_and_1(momentum):
    with pytest.raises(ValueError, match="momentum"):
        BYOL(tiny_backbone("cnn"), momentum=momentum)


def test_refuses_a_batch_of_one_and_a_dict_without_views():
    objective = BYOL(tiny_backbone("cnn"))
    with pytest.raises(ValueError, match="batch of one"):
        objective(np.ones((1, 8, 8, 1), "float32"))
    with pytest.raises(ValueError, match="view_2"):
        objective({"view_1": np.ones((4, 8, 8, 1), "float32")})
