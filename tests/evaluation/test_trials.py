"""The protocol with made-up arms: who sees which examples, which rate is chosen, nothing fitted twice."""

import pytest

from tftransfer.evaluation import Comparison
from tftransfer.evaluation.trials import Arms, run_trials


class Fakes:
    """Arms whose accuracy is known: pretrained 0.9, scratch `of_rate[rate]`; every call is written down."""

    def __init__(self, of_rate, development_of_rate=None):
        self.of_rate, self.development_of_rate = of_rate, development_of_rate or of_rate
        self.calls, self.current = [], {}

    def build(self, arm, seed):
        self.calls.append(("build", arm, seed))
        return arm

    def fit(self, model, arm, examples, rate):
        self.calls.append(("fit", arm, examples, rate))
        if self.of_rate.get(rate) is FloatingPointError:
            raise FloatingPointError("NaN")
        self.current[arm] = rate
        return 100

    def score(self, model, examples):
        self.calls.append(("score", model, examples))
        table = self.development_of_rate if examples == "development" else self.of_rate
        accuracy = 0.9 if model == "pretrained" else table.get(self.current["scratch"], 0.0)
        return {"accuracy": accuracy, "f1_macro": accuracy, "log_loss": 1 - accuracy}

    def arms(self):
        return Arms(self.build, self.fit, self.score, self.snapshot, self.restore)

    def snapshot(self, model):
        return (model, self.current[model])

    def restore(self, arm, weights):
        assert weights[0] == arm
        self.current[arm] = weights[1]
        return arm


def run(fakes, rates, draws=5, budgets=(5,), **options):
    return run_trials(
        fakes.arms(),
        lambda budget, seed: f"draw {seed} of {budget}",
        budgets=budgets,
        seeds=list(range(draws)),
        development="development",
        test="test",
        rates=rates,
        **options,
    )


def test_both_arms_see_the_same_draws():
    fakes = Fakes({1.0: 0.5})
    run(fakes, [1.0], budgets=(1, 5))
    seen = {arm: [c[2] for c in fakes.calls if c[:2] == ("fit", arm)] for arm in ("pretrained", "scratch")}
    assert seen["pretrained"] == seen["scratch"] == [f"draw {s} of {b}" for b in (1, 5) for s in range(5)]


def test_the_rate_is_chosen_on_development_alone():
    fakes = Fakes({0.1: 0.9, 0.2: 0.1, 0.3: 0.5}, development_of_rate={0.1: 0.3, 0.2: 0.8, 0.3: 0.5})
    rows, searches = run(fakes, [0.1, 0.2, 0.3])
    assert rows[1].learning_rate == 0.2 and rows[1].accuracy == [0.1] * 5
    assert searches[0]["development_accuracy"] == pytest.approx({0.1: 0.3, 0.2: 0.8, 0.3: 0.5})
    order = [call for call in fakes.calls if call[0] != "build"]
    first_test_of_scratch = order.index(("score", "scratch", "test"))
    assert not any(call[0] == "fit" for call in order[first_test_of_scratch:])
    assert not any(call[2] == "test" for call in order[:first_test_of_scratch] if call[1] == "scratch")


def test_no_fit_is_repeated():
    fakes = Fakes({0.1: 0.3, 0.2: 0.8, 0.3: 0.5})
    run(fakes, [0.1, 0.2, 0.3])
    fits = [call for call in fakes.calls if call[0] == "fit" and call[1] == "scratch"]
    assert len(fits) == len(set(fits)) == 3 * 3 + 2
    assert sorted({call[2] for call in fits if call[3] == 0.2}) == [f"draw {s} of 5" for s in range(5)]


def test_equal_accuracy_is_decided_by_log_loss_and_order():
    fakes = Fakes({0.1: 0.5, 0.2: 0.5})
    rows, _ = run(fakes, [0.1, 0.2])
    assert rows[1].learning_rate == 0.1


def test_a_diverging_rate_is_passed_over():
    fakes = Fakes({0.1: 0.5, 9.0: FloatingPointError})
    rows, searches = run(fakes, [9.0, 0.1])
    assert rows[1].learning_rate == 0.1 and searches[0]["development_accuracy"][9.0] is None
    with pytest.raises(ValueError, match="diverged at every"):
        run(Fakes({8.0: FloatingPointError, 9.0: FloatingPointError}), [8.0, 9.0])


def test_one_rate_is_not_searched():
    fakes = Fakes({1.0: 0.5})
    rows, searches = run(fakes, [1.0], draws=2)
    assert searches == [{"labels_per_class": 5, "learning_rate": 1.0, "draws": 0, "development_accuracy": {}}]
    assert not any(call[2] == "development" for call in fakes.calls if call[0] == "score")
    assert Comparison(rows).gain(5).n == 2 and rows[0].steps == 100 and rows[0].learning_rate is None


def test_each_fit_and_each_scoring_of_the_test_examples_ticks_once():
    ticks = []
    fakes = Fakes({0.1: 0.3, 0.2: 0.8})
    run_trials(
        fakes.arms(),
        lambda budget, seed: seed,
        budgets=[5],
        seeds=[0, 1, 2, 3],
        development="development",
        test="test",
        rates=[0.1, 0.2],
        tick=lambda: ticks.append(1),
    )
    fits = 4 + (2 + 1) * 3 + 1  # 0.4 was tried as well, since 0.2 lay at the edge
    assert len(ticks) == fits + 2 * 4


@pytest.mark.parametrize("rates", ([0.1, 0.2], [0.2, 0.1]))
def test_the_search_goes_on_beyond_an_edge_that_is_best(rates):
    fakes, added = Fakes({0.1: 0.3, 0.2: 0.5, 0.4: 0.8, 0.8: 0.6}), []
    rows, searches = run(fakes, rates, more=added.append)
    assert rows[1].learning_rate == 0.4 and added == [3, 3, 0][: len(added)]
    assert sorted(searches[0]["development_accuracy"]) == [0.1, 0.2, 0.4, 0.8]
    down = run(Fakes({0.1: 0.3, 0.2: 0.2, 0.05: 0.1}), rates)[1]
    assert sorted(down[0]["development_accuracy"]) == [0.05, 0.1, 0.2]


def test_the_search_ends_after_two_rates_beyond():
    _, searches = run(Fakes({0.1: 0.1, 0.2: 0.2, 0.4: 0.3, 0.8: 0.4, 1.6: 0.5}), [0.1, 0.2])
    assert sorted(searches[0]["development_accuracy"]) == [0.1, 0.2, 0.4, 0.8]
    assert searches[0]["learning_rate"] == 0.8
