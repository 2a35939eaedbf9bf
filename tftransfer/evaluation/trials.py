"""The protocol of a fair comparison, in plain functions: same draws, tuned control, untouched test set."""

import time
from typing import NamedTuple

import numpy as np

from tftransfer.evaluation.comparison import Row

EXTENSIONS = 2  # rates tried beyond those given, where the best one lies at an edge


class Arms(NamedTuple):
    """What the protocol needs to know about models.

    Args:
        build: `build(arm, seed)` → a model ready to be fitted: pretrained, or freshly initialised for
            "scratch".
        fit: `fit(model, arm, examples, rate)` → optimizer steps done; `rate` is None for the pretrained arm.
        score: `score(model, examples)` → dict with "accuracy", "f1_macro" and "log_loss".
        snapshot: `snapshot(model)` → the weights, kept while other rates are tried.
        restore: `restore(arm, weights)` → a model with these weights.
    """

    build: object
    fit: object
    score: object
    snapshot: object
    restore: object


def run_trials(
    arms, draw, *, budgets, seeds, development, test, rates, tick=lambda: None, more=lambda n: None
):
    """Runs both arms over all draws at each label budget; test examples are scored once a fit, at the end.

    Scratch's learning rate is chosen per budget: every rate is fitted on the first draws (at most three) and
    the one with the highest mean accuracy on `development` is kept, equal ones told apart by log loss; while
    it is the lowest or the highest, the next one beyond is tried as well, twice at most. The other draws are
    then fitted with it. Fits of the kept rate are not repeated.

    Args:
        arms: The `Arms`.
        draw: `draw(labels_per_class, seed)` → labelled examples, the same for both arms.
        budgets: Numbers of labels per class.
        seeds: One per draw; fixes the draw, the new head and scratch's initial weights.
        development: Examples that choose the rate; neither drawn from nor tested on.
        test: Examples of the final figures.
        rates: Learning rates to try for scratch.
        tick: Called after each fit, and after each scoring of the test examples.
        more: Called with the number of fits that are added, when the search goes on beyond the rates.

    Returns:
        (rows, searches): a list of `Row`, and per budget a dict with the mean development accuracy of each
        rate.
    """
    rows, searches = [], []
    for budget in budgets:
        draws = [draw(budget, seed) for seed in seeds]
        fitted = [
            _fit(arms, "pretrained", seed, few, None, tick) for seed, few in zip(seeds, draws, strict=True)
        ]
        rows.append(_row(arms, budget, "pretrained", fitted, test, None, tick))
        rate, first, search = _search(arms, seeds, draws, development, rates, tick, more)
        rest = zip(seeds[len(first) :], draws[len(first) :], strict=True)
        fitted = first + [_fit(arms, "scratch", seed, few, rate, tick) for seed, few in rest]
        rows.append(_row(arms, budget, "scratch", fitted, test, rate, tick))
        searches.append({"labels_per_class": budget, **search})
    return rows, searches


def _fit(arms, arm, seed, few, rate, tick):
    """One fit as (weights, seconds, steps)."""
    model = arms.build(arm, seed)
    begun = time.perf_counter()
    steps = arms.fit(model, arm, few, rate)
    seconds = time.perf_counter() - begun
    tick()
    return arms.snapshot(model), seconds, steps


def _search(arms, seeds, draws, development, rates, tick, more):
    """The best rate on the development examples, its fits so far, and what each rate reached."""
    count = min(3, len(seeds)) if len(rates) > 1 else 0
    if not count:
        return rates[0], [], {"learning_rate": rates[0], "draws": 0, "development_accuracy": {}}
    tried = {}
    queue = list(rates)
    while queue:
        rate = queue.pop(0)
        tried[rate] = _try(arms, rate, seeds[:count], draws[:count], development, tick)
        if not queue and len(tried) < len(rates) + EXTENSIONS:
            queue = _beyond(tried)
            more(count * len(queue))
    good = {rate: fits for rate, fits in tried.items() if fits is not None}
    if not good:
        raise ValueError(
            f"scratch diverged at every learning rate of {rates}; give lower scratch_learning_rates."
        )
    rate = max(good, key=lambda rate: good[rate][0])
    reached = {rate: None if fits is None else fits[0][0] for rate, fits in tried.items()}
    return rate, good[rate][1], {"learning_rate": rate, "draws": count, "development_accuracy": reached}


def _try(arms, rate, seeds, draws, development, tick):
    """((accuracy, -log loss) on the development examples, fits) of a rate; None where the loss diverged."""
    try:
        fits = [_fit(arms, "scratch", seed, few, rate, tick) for seed, few in zip(seeds, draws, strict=True)]
    except FloatingPointError:  # the loss was no longer finite: this rate is too high
        return None
    scores = [arms.score(arms.restore("scratch", weights), development) for weights, _, _ in fits]
    accuracy, loss = (float(np.mean([score[name] for score in scores])) for name in ("accuracy", "log_loss"))
    return (accuracy, -loss), fits


def _beyond(tried):
    """The next rate outward, as a list, where the best one so far lies at an edge of those tried."""
    good = [rate for rate, fits in tried.items() if fits is not None]
    if not good:
        return []
    best, ordered = max(good, key=lambda rate: tried[rate][0]), sorted(tried)
    if best == ordered[-1]:
        return [float(f"{best * best / ordered[-2]:.3g}")]
    if best == ordered[0]:
        return [float(f"{best * best / ordered[1]:.3g}")]
    return []


def _row(arms, budget, arm, fitted, test, rate, tick):
    scores = []
    for weights, _, _ in fitted:
        scores.append(arms.score(arms.restore(arm, weights), test))
        tick()
    return Row(
        labels_per_class=budget,
        arm=arm,
        accuracy=[float(score["accuracy"]) for score in scores],
        f1_macro=[float(score["f1_macro"]) for score in scores],
        seconds=[seconds for _, seconds, _ in fitted],
        steps=int(fitted[-1][2]),
        learning_rate=rate,
    )
