"""L2-SP: the penalty's formula, where it pulls, and that it is gone afterwards."""

import numpy as np
import pytest

from tftransfer.finetuning import finetune
from tftransfer.finetuning.freezing import context_of
from tftransfer.policies import full, l2_sp


def test_the_penalty_is_the_papers(make_task, snapshot):
    task = make_task()
    start = snapshot(task)
    (stage,) = l2_sp(0.3, beta=0.2)
    take_off = stage.prepare(context_of(task))
    for variable in task.trainable_variables:
        variable.assign(variable + 0.01)
    moved = snapshot(task)
    trained = context_of(task).paths
    expected = 0.0
    for path in trained:
        anchor, strength = (start[path], 0.3) if path.startswith("backbone/") else (0.0, 0.2)
        expected += 0.5 * strength * np.sum((moved[path].astype("float64") - anchor) ** 2)
    assert float(sum(task.losses)) == pytest.approx(expected, rel=1e-5)
    take_off()
    assert not task.losses


def test_a_stiff_spring_keeps_the_weights_near_their_start(make_task, data, snapshot):
    distances = []
    for policy in (full(6, learning_rate=1e-2), l2_sp(10.0, epochs=6, learning_rate=1e-2)):
        task = make_task()
        before = snapshot(task)
        finetune(task, data, policy=policy, verbose=0)
        after = snapshot(task)
        distances.append(sum(((before[p] - after[p]) ** 2).sum() for p in before if p.startswith("backbone")))
        assert not task.losses
    assert distances[1] < 0.3 * distances[0]


@pytest.mark.parametrize("arguments", [{"alpha": -1.0}, {"beta": float("inf")}])
def test_strengths_out_of_range(arguments):
    with pytest.raises(ValueError, match="l2_sp"):
        l2_sp(**arguments)
