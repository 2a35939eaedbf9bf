"""Every objective with a teacher takes one moving average a training step, of all that it follows, and none else."""

import inspect

import numpy as np
import pytest
from keras import ops

from tests.objectives.conftest import stripes, tiny_backbone
from tftransfer import objectives

MADE = {
    "BYOL": lambda **m: objectives.BYOL(tiny_backbone("cnn"), **m),
    "MoCo": lambda **m: objectives.MoCo(tiny_backbone("cnn"), **m),
    "DINO": lambda **m: objectives.DINO(tiny_backbone("cnn"), local_views=1, prototypes=16, **m),
    "IJEPA": lambda **m: objectives.IJEPA(tiny_backbone("vit"), blocks=1, block_scale=0.25, **m),
}


def values(variables):
    return [np.array(ops.convert_to_numpy(v)) for v in variables]


def test_all_that_have_a_teacher_are_here():
    every = (getattr(objectives, name) for name in objectives.__all__)
    assert {cls.__name__ for cls in every if "momentum" in inspect.signature(cls).parameters} == set(MADE)


@pytest.mark.parametrize("name", MADE)
def test_two_steps_are_two_averages_by_hand(name):
    objective = MADE[name](momentum=0.8)
    objective.plan(4)
    mine, originals = zip(*objective.teacher._pairs, strict=True)
    followed = {id(v) for v in originals}
    assert {id(v) for v in objective.backbone.trainable_variables} <= followed
    expected = [v.astype("float64") for v in values(mine)]
    for step in range(2):
        for variable in originals:
            variable.assign(variable + 0.1)
        share = 1 - 0.2 * (1 + np.cos(np.pi * step / 4)) / 2
        expected = [share * t + (1 - share) * s for t, s in zip(expected, values(originals), strict=True)]
        objective(stripes()[:4], training=True)
        for found, by_hand in zip(values(mine), expected, strict=True):
            np.testing.assert_allclose(found, by_hand, atol=1e-6)
    objective(stripes()[:4], training=False)  # a look
    for found, by_hand in zip(values(mine), expected, strict=True):
        np.testing.assert_allclose(found, by_hand, atol=1e-6)
