"""The lines before a stage."""

import keras

from tftransfer.finetuning.freezing import Applied
from tftransfer.finetuning.summary import rates_by_depth, stage_summary

GROUPS = [["a"], ["b"], ["c", "d"], ["head"]]


def summary(multipliers, **options):
    given = {"once": None, "why_not": None, "rate": 0.01, "notes": ("", "constant"), "groups": GROUPS}
    applied = Applied(multipliers, 10, 90, 0, 2)
    return stage_summary("Stage 1 of 2", "mine", applied, **{**given, **options})


def test_what_is_in_it():
    text = summary({"head": 1.0}, once="embeddings", notes=("the default", "constant"), seconds=12.34)
    assert text == (
        "Stage 1 of 2, mine: trains 10 of 100 parameters (10%), BatchNorm in inference mode (all 2), on embeddings "
        "computed once; learning rate 0.01 (the default, constant); about 12 s.\n"
        "  Rates from the input to the head: frozen (3 groups), head 0.01."
    )
    assert "what is frozen running in every step (why)" in summary({"head": 1.0}, why_not="why")
    assert "\n" not in summary(dict.fromkeys("abcd", 1.0) | {"head": 1.0})


def test_rates_of_groups():
    rates = {"b": 0.25, "c": 0.25, "d": 0.5, "head": 1.0}
    assert rates_by_depth(GROUPS, rates, 0.1) == "frozen, 0.025, 0.025 to 0.05, head 0.1"
    assert rates_by_depth(GROUPS, {"d": 0.5, "head": 1.0}, 0.1) == "frozen (2 groups), 0.05 in part, head 0.1"
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    assert rates_by_depth(GROUPS[2:], {"c": 0.5, "d": 0.5, "head": 1.0}, schedule) == "× 0.5, head × 1"


def test_of_many_groups_the_ends_are_shown():
    groups = [[str(i)] for i in range(30)]
    text = rates_by_depth(groups, {str(i): 0.9 ** (29 - i) for i in range(30)}, 1.0)
    assert text.count(",") == 9 and ", ..., " in text and text.endswith("0.9, head 1")
