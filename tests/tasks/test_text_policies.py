"""Every policy on every task of texts: nothing but tiny models is needed for them to work unchanged."""

import numpy as np
import pytest

import tftransfer as tt
from tests.tasks.texts import counting, tiny
from tftransfer import policies, tasks
from tftransfer.finetuning.depth import depth_groups

CASES = {
    "classifier": (lambda: tasks.Classifier(tiny("bert", depth=2), 3), lambda t: (t, np.arange(len(t)) % 3)),
    "tagger": (
        lambda: tasks.Tagger(tiny("transformer_text", depth=2), 2),
        lambda t: ([text.split() for text in t], [[0, 1, 0, 1] for _ in t]),
    ),
    "generator": (lambda: tasks.Generator(tiny("gpt", depth=2)), lambda t: t),
    "seq2seq": (lambda: tasks.Seq2Seq(tiny("bert", depth=2)), lambda t: (t, t)),
    "recurrent": (lambda: tasks.Classifier(tiny("lstm", depth=2), 3), lambda t: (t, np.arange(len(t)) % 3)),
}


def one_stage(policy):
    """Its last stage: the one that moves most."""
    return policies.Policy([list(policy)[-1]])


POLICIES = {
    "layer_decay": lambda: policies.layer_decay(0.5, epochs=1),
    "lora": lambda: policies.lora(2, targets="attention", epochs=1),
    "gradual": lambda: one_stage(policies.gradual(3, epochs=1)),
}


@pytest.mark.parametrize(
    "case, policy",
    [
        ("classifier", "layer_decay"),
        ("classifier", "lora"),
        pytest.param("classifier", "gradual", marks=pytest.mark.thorough),
        ("tagger", "lora"),
        ("generator", "layer_decay"),
        pytest.param("seq2seq", "gradual", marks=pytest.mark.thorough),
        ("recurrent", "gradual"),
    ],
)
def test_policies_work_unchanged(case, policy):
    make, data = CASES[case]
    task = make()
    before = {v.path: np.array(v) for v in task.weights}
    history = tt.finetune(task, data(counting(12, 4)), policy=POLICIES[policy](), batch_size=12, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    moved = {
        v.path for v in task.weights if v.path in before and np.abs(before[v.path] - np.array(v)).max() > 0
    }
    trained = history.stages[-1]["trained"]
    assert moved or policy == "lora"
    assert 0 < trained <= sum(np.prod(v.shape) for v in task.weights)
    if policy == "lora":  # kernels of attention stay, thin matrices beside them move
        assert not [path for path in moved if "attention" in path and path.endswith("kernel")]
        assert [v for v in task.weights if "lora" in v.path]


def test_layer_decay_finds_a_group_for_each_block():
    task = CASES["classifier"][0]()
    groups, _ = depth_groups(task, tt.finetuning.variable_paths(task))
    blocks = [
        next((part for part in path.split("/") if part.startswith("block_")), None) for path, *_ in groups
    ]
    assert [b for b in blocks if b] == ["block_00", "block_01"] and len(groups) == 4  # words, blocks, head
