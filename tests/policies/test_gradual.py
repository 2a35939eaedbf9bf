"""Gradual unfreezing: which groups each stage trains."""

import pytest

from tftransfer.policies import Context, gradual


def context(groups):
    groups = [*([f"backbone/block_{i:02d}/kernel"] for i in range(groups)), ["head/kernel"]]
    return Context(None, {path: None for group in groups for path in group}, groups)


@pytest.mark.parametrize(
    ("groups", "stages", "trained"),
    [(3, 4, [1, 2, 3, 4]), (6, 3, [1, 4, 7]), (2, 2, [1, 3]), (2, 4, [1, 2, 2, 3])],
)
def test_top_down_and_everything_at_last(groups, stages, trained):
    found = []
    for stage in gradual(stages, epochs=1):
        values = list(stage.resolve(context(groups)).values())
        assert values == sorted(values), "the top moves first"
        found.append(int(sum(values)))
    assert found == trained


def test_stages_out_of_range():
    with pytest.raises(ValueError, match="stages must be"):
        gradual(1)
