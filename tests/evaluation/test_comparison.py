"""The comparison's verdict, gains and renderings on made-up figures."""

import json

import pytest

from tftransfer.evaluation import Comparison, Row, paired_interval

GOOD, BAD = [0.93, 0.91, 0.94, 0.92, 0.93], [0.82, 0.80, 0.82, 0.78, 0.83]


def comparison(pretrained, scratch, budget=5, **details):
    rows = [
        Row(budget, "pretrained", pretrained, pretrained, [2.0] * len(pretrained), 120),
        Row(budget, "scratch", scratch, scratch, [2.5] * len(scratch), 120, 1e-3),
    ]
    return Comparison(rows, details=details)


@pytest.mark.parametrize(
    "pretrained, scratch, says",
    [
        (GOOD, BAD, "pretraining helped: +11.6 points of accuracy (95% interval +9.7 to +13.5)"),
        (BAD, GOOD, "pretraining hurt: -11.6 points of accuracy (95% interval -13.5 to -9.7)"),
        (GOOD, [0.95, 0.89, 0.95, 0.92, 0.91], "no convincing gain"),
        (GOOD[:1], BAD[:1], "one draw"),
    ],
)
def test_verdict(pretrained, scratch, says):
    verdict = comparison(pretrained, scratch).verdict
    assert says in verdict and verdict.startswith("At 5 labels per class")


def test_verdict_follows_the_paired_interval_not_the_overlap_of_two():
    hard_and_easy = [0.5, 0.6, 0.7, 0.8, 0.9]
    better = [value + 0.02 + 0.001 * i for i, value in enumerate(hard_and_easy)]
    assert "helped" in comparison(better, hard_and_easy).verdict


def test_several_budgets():
    rows = comparison(GOOD, BAD, budget=1).rows + comparison(GOOD, GOOD, budget=10).rows
    both = Comparison(rows)
    assert both.budgets == [1, 10]
    first, second = both.verdict.splitlines()
    assert first.startswith("At 1 label per class pretraining helped") and "no convincing gain" in second
    assert both.gain(1) == paired_interval(GOOD, BAD)
    assert both.row(10, "scratch").learning_rate == 1e-3


def test_text_and_html():
    result = comparison(GOOD, BAD, test_examples=540, notes=["A note that is <odd>."])
    text = str(result)
    assert max(map(len, text.splitlines())) <= 100
    for part in ("540 test examples", "0.926 ± 0.014", "+0.116 ± 0.019", "A note that is <odd>.", "helped"):
        assert part in text, text
    page = result._repr_html_()
    assert "&lt;odd&gt;" in page and "<table" in page and "helped" in page


def test_json_holds_every_draw(tmp_path):
    result = comparison(GOOD, BAD, draw_seeds=[0, 1, 2, 3, 4])
    content = json.loads(result.to_json(tmp_path / "comparison.json"))
    assert content["rows"][0]["accuracy"] == GOOD and content["rows"][1]["learning_rate"] == 1e-3
    assert content["gains"][0]["accuracy"]["mean"] == pytest.approx(0.116)
    assert content["details"]["draw_seeds"] == [0, 1, 2, 3, 4] and content["verdict"] == result.verdict


def test_one_draw_is_still_shown():
    result = comparison(GOOD[:1], BAD[:1])
    assert "0.930" in str(result) and "±" not in str(result).split("Mean")[0]
    assert json.loads(result.to_json())["gains"][0]["accuracy"]["low"] is None


def test_bad_rows():
    rows = comparison(GOOD, BAD).rows
    with pytest.raises(ValueError, match="received none"):
        Comparison([])
    with pytest.raises(ValueError, match="needs the arms"):
        Comparison(rows[:1])
    with pytest.raises(ValueError, match="per draw"):
        Comparison([rows[0], rows[1]._replace(accuracy=[0.5])])
    with pytest.raises(ValueError, match="asked for 7"):
        Comparison(rows).row(7, "scratch")
    with pytest.raises(ValueError, match="metric"):
        Comparison(rows).gain(5, "loss")
