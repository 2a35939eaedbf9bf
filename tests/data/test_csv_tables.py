"""Tables in text files."""

import numpy as np
import pytest

from tftransfer.data import load_csv
from tftransfer.layers import TablePreprocessing

TEXT = """age, job, zip, pay
39, "clerk, senior", 01234, 1.5
?, cook, 99999, 2.5
52, NA, 00001, 3.5
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="people.csv", encoding="utf-8"):
        (tmp_path / name).write_bytes(text.encode(encoding))
        return tmp_path / name

    return write


def test_numbers_texts_gaps_and_codes(write):
    people = load_csv(write(TEXT), label="pay")
    np.testing.assert_array_equal(people.x["age"], [39, np.nan, 52])
    assert people.x["job"].tolist() == ["clerk, senior", "cook", ""]
    assert people.x["zip"].tolist() == ["01234", "99999", "00001"]  # no numbers
    assert people.y.tolist() == [1.5, 2.5, 3.5] and people.class_names is None
    assert people.name == "people" and people.size == 3


def test_labels_of_each_kind(write):
    path = write("a,text,whole\n1,no,3\n2,yes,1\n3,no,2\n")
    assert load_csv(path).y is None and list(load_csv(path).x) == ["a", "text", "whole"]
    examples = load_csv(path, label="text")
    assert (examples.y.tolist(), examples.class_names) == ([0, 1, 0], ["no", "yes"])
    assert load_csv(path, label="whole").y.tolist() == [3, 1, 2]
    assert load_csv(path, label="whole").y.dtype == "int64"


def test_labels_are_numbered_as_they_were_in_training(write):
    path = write("a,text,whole\n1,yes,3\n2,maybe,1\n")
    names = ["maybe", "no", "yes"]
    examples = load_csv(path, label="text", class_names=names)
    assert (examples.y.tolist(), examples.class_names) == ([2, 0], names)
    assert load_csv(path, label="whole", class_names=["1", "2", "3"]).y.tolist() == [2, 0]
    with pytest.raises(ValueError, match=r"none of class_names: \['maybe'\].*\['no', 'yes'\]"):
        load_csv(path, label="text", class_names=["no", "yes"])


def test_a_file_without_names_with_tabs_or_a_mark_at_its_start(write):
    assert list(load_csv(write("1,a\n2,b\n"), names=["n", "t"]).x) == ["n", "t"]
    assert load_csv(write("n\tt\n1\ta, b\n", "p.tsv")).x["t"].tolist() == ["a, b"]
    assert list(load_csv(write("\ufeffn,t\n1,a\n")).x) == ["n", "t"]


def test_a_part_is_a_file_of_its_own(write):
    path = write("n\n1\n")
    write("n\n2\n", "people_test.csv")
    assert load_csv(path, split="test").x["n"].tolist() == [2.0]
    with pytest.raises(FileNotFoundError, match="people_train"):
        load_csv(path, split="train")


def test_what_was_read_can_be_encoded_and_divided(write):
    people = load_csv(write(TEXT), label="pay")
    rows = people.map(TablePreprocessing().adapt(people.x).encode)
    assert rows.x.shape == (3, 3) and rows.take([0, 2]).y.tolist() == [1.5, 3.5]


@pytest.mark.parametrize(
    "text, words, options",
    [
        ("", "no rows", {}),
        ("a,b\n", "no rows", {}),
        ("a,a\n1,2\n", "distinct names", {}),
        ("a,\n1,2\n", "distinct names", {}),
        ("a,b\n1,2\n3\n", "1 values in row 2", {}),
        ("a,b\n1,2\n", "no column 'c'", {"label": "c"}),
        ("a,b\n1,\n2,x\n", "missing in 1 of 2 rows", {"label": "b"}),
        ("b\n1\n", "besides the labels", {"label": "b"}),
        ("a\n1\n", "memory_limit", {"memory_limit": 10}),
    ],
)
def test_clear_errors(write, text, words, options):
    with pytest.raises(ValueError, match=words):
        load_csv(write(text), **options)


def test_no_file_and_no_text(write, tmp_path):
    with pytest.raises(FileNotFoundError, match="no file"):
        load_csv(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="UTF-8"):
        load_csv(write("a\nß\n", encoding="latin-1"))
