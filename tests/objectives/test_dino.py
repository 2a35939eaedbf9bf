"""DINO's loss against the formula; its centre and temperature inside the step."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.objectives.conftest import tiny_backbone
from tftransfer.objectives import DINO
from tftransfer.objectives.dino import distillation

pytestmark = pytest.mark.compute
SMALL = {"local_views": 2, "prototypes": 16}


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def formula(student, teacher, centre, ts, tt):
    """Equation 3 and algorithm 1 of Caron et al. (2021), pair by pair, in float64."""
    total, pairs = 0.0, 0
    for t in range(len(teacher)):
        for v in range(len(student)):
            if v != t:
                p, q = softmax((teacher[t] - centre) / tt), softmax(student[v] / ts)
                total -= (p * np.log(q)).sum(axis=1).mean()
                pairs += 1
    return total / pairs


@pytest.mark.parametrize("views", [2, 5])
def test_equals_the_papers_formula(views):
    draw = np.random.default_rng(0)
    student, teacher, centre = (
        draw.normal(size=(views, 4, 6)),
        draw.normal(size=(2, 4, 6)),
        draw.normal(size=6),
    )
    found = distillation(student, teacher, centre, student_temperature=0.5, teacher_temperature=0.3)
    assert float(found) == pytest.approx(formula(student, teacher, centre, 0.5, 0.3), rel=1e-4)


def test_ignores_a_shift_of_teacher_and_centre_together_and_order():
    draw = np.random.default_rng(1)
    s, t, c = (draw.normal(size=shape).astype("float32") for shape in ((3, 4, 6), (2, 4, 6), (6,)))
    settings = {"student_temperature": 0.5, "teacher_temperature": 0.3}
    loss = float(distillation(s, t, c, **settings))
    assert float(distillation(s, t + 2, c + 2, **settings)) == pytest.approx(loss, rel=1e-4)
    assert float(distillation(s[:, ::-1], t[:, ::-1], c, **settings)) == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("execution", [1, 4])
def test_temperature_warms_up_and_the_centre_moves_in_the_step(pictures, execution):
    objective = DINO(tiny_backbone("cnn"), **SMALL)
    objective.plan(40)
    objective.compile("sgd", steps_per_execution=execution)
    assert float(objective(pictures)["teacher_temperature"]) == pytest.approx(0.04)
    objective.fit(pictures, batch_size=16, epochs=3, verbose=0)  # 6 of the 12 steps of the warm-up
    assert float(objective(pictures)["teacher_temperature"]) == pytest.approx(0.055, rel=1e-4)
    assert np.abs(ops.convert_to_numpy(objective.centre)).max() > 0


def test_the_centre_is_the_average_of_the_teachers_answers(pictures):
    objective = DINO(tiny_backbone("cnn"), **SMALL)
    first = objective(pictures, training=True)
    np.testing.assert_array_equal(ops.convert_to_numpy(first["centre"]), 0)  # the one before the step
    expected = 0.1 * ops.convert_to_numpy(first["teacher"]).mean((0, 1))
    np.testing.assert_allclose(ops.convert_to_numpy(objective.centre), expected, atol=1e-6)


def test_views_made_beforehand_and_their_shapes():
    objective = DINO(tiny_backbone("cnn"), **SMALL)
    x = np.random.default_rng(0).random((4, 8, 8, 1)).astype("float32")
    assert tuple(objective({"view_1": x, "view_2": x})["student"].shape) == (2, 4, 16)
    outputs = objective({"view_1": x, "view_2": x, "local_views": np.stack([x] * 3, axis=1)})
    assert tuple(outputs["student"].shape) == (5, 4, 16)
    assert tuple(outputs["teacher"].shape) == (2, 4, 16)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teacher_temperature": 0.04}, "teacher_temperature"),
        ({"teacher_temperature": (0.04, 0.2)}, "teacher_temperature"),
        ({"local_views": -1}, "local_views"),
        ({"prototypes": 1}, "prototypes"),
        ({"momentum": 1.5}, "momentum"),
    ],
)
def test_refuses_settings_that_cannot_work(settings, message):
    with pytest.raises(ValueError, match=message):
        DINO(tiny_backbone("cnn"), **settings)


@pytest.mark.parametrize("size", [5, 16])
def test_refuses_crops_of_another_size_than_the_backbone_reads(size):
    x = np.ones((4, 8, 8, 1), "float32")
    objective = DINO(tiny_backbone("vit"), **SMALL, local_augmentation=keras.layers.Resizing(size, size))
    with pytest.raises(ValueError, match=r"Resizing\(8, 8\)"):
        objective(x)
    crops = np.ones((4, 3, size, size, 1), "float32")
    with pytest.raises(ValueError, match=rf"views of shape \({size}, {size}, 1\)"):
        DINO(tiny_backbone("cnn"), **SMALL)({"view_1": x, "view_2": x, "local_views": crops})


def test_refuses_a_batch_of_one():
    with pytest.raises(ValueError, match="batch of one"):
        DINO(tiny_backbone("cnn"), **SMALL)(np.ones((1, 8, 8, 1), "float32"))
