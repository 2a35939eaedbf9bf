"""fastai's recipe: what moves in each stage, how fast, and the schedule, against fastai's own numbers."""

import keras
import numpy as np
import pytest

from tftransfer.finetuning.freezing import apply_stage, context_of
from tftransfer.policies import OneCycle, fastai


def test_first_the_head_and_batch_norm_then_everything_in_even_ratios(make_task):
    task = make_task("cnn")
    frozen, whole = fastai(4, learning_rate=2e-3).stages
    first = frozen.resolve(context_of(task))
    assert {path: rate for path, rate in first.items() if rate} == {
        **{path: 0.1 for path in first if path.endswith(("gamma", "beta"))},
        "head/kernel": 1.0,
        "head/bias": 1.0,
    }
    assert sum(rate == 0.1 for rate in first.values()) == 4
    context = context_of(task)
    rates = whole.resolve(context)
    by_group = [{rates[path] for path in group} for group in context.groups]
    assert all(len(group) == 1 for group in by_group)
    values = np.array([group.pop() for group in by_group])
    assert values[0] == pytest.approx(0.01) and values[-1] == 1
    np.testing.assert_allclose(values[1:] / values[:-1], values[1] / values[0])
    assert whole.learning_rate == frozen.learning_rate / 2 and (frozen.epochs, whole.epochs) == (1, 4)
    assert frozen.schedule == OneCycle(0.99, 25.0, 1e5) and whole.schedule == OneCycle(0.3, 5.0, 1e5)


def test_batch_norm_is_live_in_the_first_stage(make_task):
    task = make_task("cnn")
    applied = apply_stage(fastai().stages[0], task)
    count = sum(isinstance(x, keras.layers.BatchNormalization) for x in task._flatten_layers())
    assert applied.batch_norm_live == count > 0 and applied.batch_norm_frozen == 0
    assert not any(v.trainable for v in task.backbone.weights if "kernel" in v.name)


@pytest.mark.parametrize(
    "options", [{"lr_mult": 0.5}, {"lr_mult": "x"}, {"warm_up": 1.0}, {"div": 0.5}, {"freeze_epochs": 0}]
)
def test_mistakes_raise(options):
    with pytest.raises(ValueError, match=r"lr_mult|OneCycle|epochs"):
        fastai(2, **options)


def test_repr_tells_what_is_unusual():
    assert repr(fastai(5)) == "fastai(epochs=5, learning_rate=0.002)"
    assert repr(fastai(5, lr_mult=10)) == "fastai(epochs=5, learning_rate=0.002, lr_mult=10)"
    assert fastai(5) != fastai(5, div=6.0)
