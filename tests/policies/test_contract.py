"""What every policy does: learns a little, keeps what it froze, speaks clearly. New policies are found by `__all__`."""

import numpy as np
import pytest

from tftransfer import policies
from tftransfer.finetuning import finetune

POLICIES = [name for name in policies.__all__ if name[0].islower()]
ON_JAX = {"layer_decay", "lora", "surgical"}  # one of each mechanism: JAX compiles for seconds
CASES = [
    pytest.param(
        name, kind, marks=[pytest.mark.compute] * (kind == "vit" and name in ON_JAX), id=f"{name}-{kind}"
    )
    for kind in ("vit", "cnn")
    for name in POLICIES
]
FIRST = {"surgical": policies.linear_probe(1)}  # says little without a head that has learned


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_learns_and_moves_what_it_says_and_nothing_else(name, kind, make_task, snapshot, data):
    policy = getattr(policies, name)(epochs=6, learning_rate=1e-2)
    task = make_task(kind)
    if name in FIRST:
        policy = FIRST[name] + policy
    before = snapshot(task)
    history = finetune(task, data, policy=policy, batch_size=8, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert np.isfinite(history.history["loss"]).all()
    said = {path for stage in history.stages for path in stage["multipliers"]}
    after = snapshot(task)
    for path in before:
        if path in said:
            assert (before[path] != after[path]).any(), path
        elif "moving" not in path:
            np.testing.assert_array_equal(before[path], after[path], err_msg=path)
    assert {"head/kernel", "head/bias"} <= said


@pytest.mark.parametrize("name", POLICIES)
def test_speaks_clearly(name):
    make = getattr(policies, name)
    policy = make(epochs=3, learning_rate=1e-3)
    assert isinstance(policy, policies.Policy)
    for each in (policy, policy + policy, make()):
        assert eval(repr(each), vars(policies)) == each  # the command line prints it as Python
    assert make(epochs=3, learning_rate=1e-3) == policy
    assert len(policy + policy) == 2 * len(policy)
    with pytest.raises(ValueError, match="epochs"):
        make(epochs=0)
    with pytest.raises(ValueError, match="learning_rate"):
        make(epochs=1, learning_rate=-1.0)
