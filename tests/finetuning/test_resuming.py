"""Where a run goes on: the calls of fit that are left, and rules that stand for what had been decided."""

import keras
import pytest

from tests.finetuning.conftest import small_backbone
from tftransfer.checkpoints import calls_left
from tftransfer.finetuning.freezing import context_of
from tftransfer.finetuning.resuming import rules_of, settings_of
from tftransfer.policies import Stage, full, linear_probe
from tftransfer.tasks import Classifier


@pytest.mark.parametrize("start", range(13))
def test_the_calls_left_make_up_the_rest(start):
    steps, last = 4, 3
    done = start
    for first, until, of_epoch in calls_left(start, steps, last):
        assert first == done and of_epoch in (steps, steps - start % steps)
        done += (until - first // steps) * of_epoch
    assert done == max(start, 12)


def test_rules_give_back_what_was_decided():
    task = Classifier(small_backbone(), 3)
    context = context_of(task)
    for wanted in ({"head/kernel": 1.0, "head/bias": 0.5}, dict.fromkeys(context.paths, 0.25)):
        stage = Stage("again", rules_of(wanted, context), 1)
        assert stage.resolve(context) == {path: wanted.get(path, 0.0) for path in context.paths}


def test_settings_tell_runs_apart():
    one = settings_of(full(2), None, batch_size=8)
    assert one == settings_of(full(2), None, batch_size=8)
    different = (
        settings_of(full(3), None, batch_size=8),
        settings_of(full(2), keras.optimizers.SGD(), batch_size=8),
        settings_of(full(2), None, batch_size=9),
        settings_of(linear_probe(2, init="ridge"), None, batch_size=8),
    )
    assert all(other != one for other in different)
    adam = [settings_of(full(2), keras.optimizers.Adam(1e-3, name=name)) for name in ("a", "b")]
    assert adam[0] == adam[1]  # Keras numbers the names
