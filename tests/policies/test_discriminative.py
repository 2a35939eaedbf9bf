"""Discriminative rates: even ratios between the two ends, however deep the backbone is."""

import pytest

from tftransfer.finetuning import finetune
from tftransfer.policies import discriminative


def test_even_ratios_between_the_ends(make_task, data):
    history = finetune(make_task(), data, policy=discriminative(0.001, epochs=1), verbose=0)
    factors = history.stages[0]["multipliers"]
    assert factors["backbone/embedder/patches/kernel"] == pytest.approx(0.001)
    assert factors["backbone/trunk/block_00/mlp_2/kernel"] == pytest.approx(0.01)
    assert factors["backbone/trunk/block_01/mlp_2/kernel"] == pytest.approx(0.1)
    assert factors["head/bias"] == 1.0


def test_lowest_out_of_range():
    with pytest.raises(ValueError, match="lowest must lie in"):
        discriminative(0.0)
