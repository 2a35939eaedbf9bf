"""Tables: alignment, clipping, escaping."""

import pytest

from tftransfer.evaluation.tables import clip, html_table, text_table


def test_wide_characters_take_two_columns():
    table = text_table(["class", "F1"], [["狗", "1"], ["dog", "0.5"]])
    assert table.splitlines()[2:] == ["狗       1", "dog    0.5"]


@pytest.mark.parametrize(
    "text, limit, clipped", [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("狗狗狗", 4, "狗…")]
)
def test_clip(text, limit, clipped):
    assert clip(text, limit) == clipped


def test_empty_rows_and_short_rows():
    assert text_table(["a", "b"], [["1"], [], ["2", "3"]], rule=False) == "a  b\n1\n\n2  3"


def test_html_escapes_and_shades():
    page = html_table(["<a>", "b"], [["&", "1"]], shades=[[0.9]])
    assert "&lt;a&gt;" in page and "&amp;" in page and "color:white" in page
