"""The epochs at which a callback looks, also in a run that goes on."""

import pytest

from tftransfer.evaluation.looks import Looks


class Spy(Looks):
    def __init__(self, **options):
        super().__init__(**options)
        self.seen = []

    def look(self, epoch, due):
        self.seen.append((epoch, due))
        return {"figure": epoch}


def run(epochs, every, first=0):
    spy, logs = Spy(every=every), [{"loss": 1.0} for _ in range(epochs)]
    spy.set_params({"epochs": epochs})
    for epoch in range(first, epochs):
        spy.on_epoch_end(epoch, logs[epoch])
    return spy.seen, [each.get("figure") for each in logs]


@pytest.mark.parametrize(
    "every, expected", [(1, [0, 1, 2, 3, 4]), (2, [0, 1, 3, 4]), (3, [0, 2, 4]), (9, [0, 4])]
)
def test_the_first_the_last_and_every_few(every, expected):
    seen, figures = run(5, every)
    assert seen == [(epoch, True) for epoch in expected]
    assert figures == [max(e for e in expected if e <= epoch) for epoch in range(5)]


def test_a_run_that_goes_on_has_figures_from_its_first_epoch():
    seen, figures = run(8, 4, first=5)
    assert seen == [(5, False), (7, True)]
    assert figures == [None] * 5 + [5, 5, 7]


def test_logs_may_be_absent_and_look_must_be_said():
    spy = Spy()
    spy.set_params({"epochs": 1})
    spy.on_epoch_end(0)
    assert spy.seen == [(0, True)]
    with pytest.raises(NotImplementedError, match="look"):
        Looks().look(0, True)
