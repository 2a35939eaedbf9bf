"""Entities by hand, in every scheme, with tags that continue nothing; figures as the CoNLL script gives them."""

import json

import pytest

from tftransfer.evaluation import EntityReport, entities, invalid_tags

CASES = {  # by hand, after conlleval's rules
    "BIO": ("B-a I-a O B-b B-b I-b", [("a", 0, 2), ("b", 3, 4), ("b", 4, 6)]),
    "to the end": ("O B-a I-a", [("a", 1, 3)]),
    "nothing": ("O O", []),
    "empty": ("", []),
    "IOB1": ("I-a I-a O I-b B-b", [("a", 0, 2), ("b", 3, 4), ("b", 4, 5)]),
    "continues nothing": ("O I-a I-a O", [("a", 1, 3)]),
    "another type within": ("B-a I-b I-b", [("a", 0, 1), ("b", 1, 3)]),
    "BIOES": ("S-a B-b I-b E-b S-b O E-c", [("a", 0, 1), ("b", 1, 4), ("b", 4, 5), ("c", 6, 7)]),
    "behind an end": ("B-a E-a I-a E-a", [("a", 0, 2), ("a", 2, 4)]),
    "type with a hyphen": ("B-creative-work I-creative-work", [("creative-work", 0, 2)]),
    "no type": ("B I O B", [("", 0, 2), ("", 3, 4)]),
}


@pytest.mark.parametrize("case", CASES)
def test_entities(case):
    tags, expected = CASES[case]
    assert entities(tags.split()) == expected


def test_invalid_tags():
    assert invalid_tags("I-a I-a O B-a I-b E-b E-b".split()) == [0, 4, 6]
    assert invalid_tags("B-a I-a O S-b B-a E-a".split()) == []


@pytest.mark.parametrize("tag", ["person", "X-a", "b-a", "O-a"])
def test_tags_of_another_form(tag):
    with pytest.raises(ValueError, match="place 1"):
        entities(["O", tag])


def test_the_example_of_seqeval():
    """Its README: two entities of each; MISC found with a border wrong."""
    true = [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    said = [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    report = EntityReport(true, said)
    assert report.metrics["f1"] == report.metrics["precision"] == report.metrics["recall"] == 0.5
    assert report.metrics["accuracy"] == pytest.approx(0.8)
    assert report.metrics["f1_macro"] == 0.5 and report.metrics["invalid"] == 0
    assert report.per_type[0] == {"type": "MISC", "precision": 0, "recall": 0, "f1": 0, "entities": 1}


def test_precision_and_recall():
    true = [["B-a", "O", "B-a", "B-b"]]
    said = [["B-a", "O", "O", "I-a"]]  # one of two found is right; one of three is found
    metrics = EntityReport(true, said).metrics
    assert metrics["precision"] == 1 / 2 and metrics["recall"] == pytest.approx(1 / 3)
    assert metrics["f1"] == pytest.approx(0.4) and metrics["invalid"] == 0.25


def test_no_entities_at_all():
    report = EntityReport([["O", "O"]], [["O", "O"]])
    assert report.metrics["f1"] == 0 and report.metrics["accuracy"] == 1


def test_text_html_json_and_picture(tmp_path):
    report = EntityReport([["B-a", "O"], ["O"]], [["B-a", "O"], ["B-<b>"]], note="as published")
    assert "F1" in str(report) and "as published" in str(report) and "&lt;b&gt;" in report._repr_html_()
    assert json.loads(report.to_json())["metrics"]["recall"] == 1
    report.plot(tmp_path / "entities.png")
    assert (tmp_path / "entities.png").stat().st_size > 1000


def test_another_number_of_tags():
    with pytest.raises(ValueError, match="text 1 has 1 labels and 2"):
        EntityReport([["O"], ["O"]], [["O"], ["O", "O"]])
    for rows in ([], [["O"], ["O"]]):
        with pytest.raises(ValueError, match="rows"):
            EntityReport(rows, [["O"]] if rows else [])
