"""Stages and policies: what they accept, how patterns are resolved, how they chain."""

import pytest

from tftransfer.policies import Context, Policy, Stage, full, linear_probe

PATHS = ["backbone/stem/kernel", "backbone/stem/bias", "head/kernel", "head/bias"]
CONTEXT = Context(task=None, paths=dict.fromkeys(PATHS), groups=[PATHS[:2], PATHS[2:]])


def test_the_first_pattern_found_decides():
    stage = Stage("biases", {r"/bias$": 0.5, r"^head/": 1.0, r".*": 0.0}, epochs=1)
    assert list(stage.resolve(CONTEXT).values()) == [0.0, 0.5, 1.0, 0.5]


def test_multipliers_may_depend_on_the_task():
    stage = Stage("by depth", lambda context: {r"^head/": 1 / len(context.paths), r".*": 0.0}, epochs=1)
    assert stage.resolve(CONTEXT)["head/kernel"] == 0.25


@pytest.mark.parametrize(
    ("multipliers", "message"),
    [
        ({r"^haed/": 1.0, ".*": 0.0}, r"'\^haed/' is found in no variable path"),
        ({r"^head/": 1.0}, "no pattern covers the variable 'backbone/stem/kernel'"),
        ({r".*": 0.0}, "would train nothing"),
    ],
)
def test_mistakes_in_patterns_raise(multipliers, message):
    with pytest.raises(ValueError, match=message):
        Stage("stage", multipliers, epochs=1).resolve(CONTEXT)


@pytest.mark.parametrize(
    "arguments",
    [
        {"epochs": 0},
        {"epochs": 2.5},
        {"epochs": True},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"learning_rate": "fast"},
        {"schedule": "linear"},
        {"batch_norm": "off"},
        {"multipliers": {}},
        {"multipliers": {"(": 1.0}},
        {"multipliers": {".*": -1.0}},
        {"multipliers": {".*": True}},
        {"multipliers": {".*": float("inf")}},
        {"multipliers": ["head"]},
    ],
)
def test_bad_arguments_raise(arguments):
    with pytest.raises(ValueError, match="stage"):
        Stage(**{"name": "stage", "multipliers": {".*": 1.0}, "epochs": 1, **arguments})


def test_plus_chains_policies_and_stages():
    stage = Stage("mine", {".*": 1.0}, epochs=2)
    policy = linear_probe(3) + full(4) + stage
    assert [s.name for s in policy] == ["linear_probe", "full", "mine"]
    assert [s.name for s in stage + full(1)] == ["mine", "full"]
    assert len(policy) == 3 and policy.epochs == 9
    assert policy == linear_probe(3) + full(4) + stage != full(4)
    assert repr(linear_probe(3) + full(4)) == "linear_probe(epochs=3, learning_rate=0.01) + full(epochs=4)"


def test_a_policy_is_made_of_stages():
    with pytest.raises(ValueError, match="at least one Stage"):
        Policy([])
    with pytest.raises(ValueError, match="Stage objects"):
        Policy(["head"])
    with pytest.raises(TypeError):
        full() + "head"


def test_full_may_keep_the_statistics_of_pretraining():
    policy = full(3, batch_norm="frozen")
    assert policy.stages[0].batch_norm == "frozen" and full(3).stages[0].batch_norm == "auto"
    assert eval(repr(policy)) == policy and repr(policy) == "full(batch_norm='frozen', epochs=3)"
    with pytest.raises(ValueError, match="batch_norm"):
        full(batch_norm="off")
