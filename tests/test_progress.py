"""One bar for a run: steps of all epochs, and the figures of the last whole one."""

import re

import pytest

from tftransfer.progress import RunProgress


def shown(capfd):
    """What the bar said last."""
    return re.split(r"[\r\n\b]+", capfd.readouterr().out.strip())[-1]


@pytest.fixture
def bar():
    progress = RunProgress(steps=4, epochs=2)
    progress.on_train_begin()
    return progress


def test_the_figures_are_those_of_the_last_epoch_and_no_means(bar, capfd):
    for epoch, figures in enumerate(
        ({"loss": 4.0, "effective_rank": 8.0}, {"loss": 2.0, "effective_rank": 3.0})
    ):
        for batch in range(4):
            bar.on_train_batch_end(batch)
        bar.on_epoch_end(epoch, {**figures, "probe_accuracy": 0.5})
    last = shown(capfd)
    assert "8/8" in last
    for words in ("loss: 2.0000", "effective_rank: 3.0000", "probe_accuracy: 0.5000"):
        assert words in last


def test_several_steps_in_one_execution_and_a_run_that_goes_on(bar, capfd):
    bar.on_train_batch_end(3)  # of four steps together
    bar.on_epoch_end(0, {"loss": 1.0})
    assert bar.done == 4
    again = RunProgress(steps=4, epochs=2, start=6)
    again.on_train_begin()
    again.on_train_batch_end(0)
    assert again.done == 7
    again.on_epoch_end(1, None)
    assert "8/8" in shown(capfd)
