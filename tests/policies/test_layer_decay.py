"""Layer-wise decay: the factors, and that the head moves as without it."""

import pytest

from tftransfer.finetuning import finetune
from tftransfer.policies import layer_decay


def test_factors_fall_from_the_head_to_the_input(make_task, data):
    history = finetune(make_task(), data, policy=layer_decay(0.5, epochs=1), verbose=0)
    factors = history.stages[0]["multipliers"]
    assert factors["head/kernel"] == 1.0
    assert factors["backbone/trunk/block_01/mlp_2/kernel"] == factors["backbone/trunk/norm/gamma"] == 0.5
    assert factors["backbone/trunk/block_00/mlp_2/kernel"] == 0.25
    assert factors["backbone/embedder/patches/kernel"] == 0.125


@pytest.mark.parametrize("decay", [0.0, 1.5, -1.0])
def test_decay_out_of_range(decay):
    with pytest.raises(ValueError, match="decay must lie in"):
        layer_decay(decay)
