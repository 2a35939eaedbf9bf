"""Raw columns, in all the shapes in which tables come."""

import datetime

import numpy as np
import pytest

from tftransfer.layers.table_columns import (
    as_columns,
    fit_category,
    fit_number,
    is_number,
    to_numbers,
    to_texts,
)


class NAType:
    """What pandas writes for a missing value, without pandas."""


def test_every_kind_of_table_becomes_columns():
    wanted = {"a": [1, 2], "b": ["x", "y"]}
    structured = np.array([(1, "x"), (2, "y")], dtype=[("a", int), ("b", "U1")])
    for table in ({"a": np.array([1, 2]), "b": ["x", "y"]}, structured):
        assert {name: values.tolist() for name, values in as_columns(table).items()} == wanted
    assert as_columns([[1.0, 2.0], [3.0, 4.0]])["column_1"].tolist() == [2.0, 4.0]


def test_a_dataframe_where_there_is_pandas():
    pandas = pytest.importorskip("pandas", exc_type=ImportError)
    frame = pandas.DataFrame({"a": [1.5, None], "b": pandas.Categorical(["x", None])})
    columns = as_columns(frame)
    assert to_texts(columns["b"]) == ["x", None] and is_number(columns["a"])
    assert to_texts(np.asarray(pandas.array([1, None], "Int64"))) == ["1", None]


@pytest.mark.parametrize(
    "table",
    [
        None,
        np.ones(3),
        {},
        {"a": []},
        {"a": [1], "b": [1, 2]},
        {"a": np.ones((2, 2))},
        (np.ones((2, 2)), [0, 1]),
    ],
    ids=lambda table: str(table).replace("\n", ""),
)
def test_what_is_no_table_is_refused(table):
    with pytest.raises(ValueError, match="a table"):
        as_columns(table)


def test_kinds_are_told_apart():
    assert is_number(np.array([1, 2])) and is_number(np.array([1, None, 2.5], dtype=object))
    assert is_number(np.array([NAType(), np.int64(3)], dtype=object))
    assert not is_number(np.array([True, False])) and not is_number(np.array([True, None], dtype=object))
    assert not is_number(np.array(["1"])) and not is_number(np.array([1, "a"], dtype=object))
    with pytest.raises(ValueError, match="days since"):
        is_number(np.array([datetime.date(2020, 1, 1)], "datetime64[D]"))


def test_gaps_of_every_kind_are_gaps():
    values = np.array([None, float("nan"), "", NAType(), np.float32("nan"), 2], dtype=object)
    assert to_texts(values) == [None] * 5 + ["2"]
    np.testing.assert_array_equal(to_numbers(values, "a"), [np.nan] * 5 + [2.0])
    assert to_texts(np.array(["", "a"])) == [None, "a"]


def test_the_same_category_is_the_same_text_whatever_its_type():
    for values in (np.array([3, 3]), np.array([3.0, np.nan]), np.array(["3"]), np.array([b"3"])):
        assert to_texts(values)[0] == "3"
    assert to_texts(np.array([2.5, True], dtype=object)) == ["2.5", "True"]


def test_text_and_infinity_in_a_column_of_numbers_are_errors():
    with pytest.raises(ValueError, match=r"'age' is numeric.*'old'"):
        to_numbers(np.array([3, "old"], dtype=object), "age")
    with pytest.raises(ValueError, match="1 infinite"):
        to_numbers(np.array([3, np.inf]), "age")
    np.testing.assert_array_equal(to_numbers(np.array(["3.5"]), "age"), [3.5])


def test_fitting_a_number():
    column, constant = fit_number("a", np.array([1.0, 3.0, np.nan]))
    assert column == {"name": "a", "kind": "numeric", "mean": 2.0, "deviation": 1.0, "missing": True}
    assert not constant
    column, constant = fit_number("a", np.array([1e9 + 0.1] * 3))
    assert constant and column["deviation"] == 1.0
    assert fit_number("a", np.array([np.nan, np.nan]))[0] is None


def test_fitting_a_category():
    values = np.array(["b", "a", "b", "c", ""])
    column, constant = fit_category("job", values, min_count=1, max_categories=9)
    assert column["categories"] == ["b", "a", "c"] and column["missing"]
    assert not column["rare"] and not constant
    for limits in ({"min_count": 2, "max_categories": 9}, {"min_count": 1, "max_categories": 1}):
        column, _ = fit_category("job", values, **limits)
        assert column["categories"] == ["b"] and column["rare"]
    assert fit_category("job", np.array(["", ""]), min_count=1, max_categories=9)[0] is None
    assert fit_category("job", np.array(["a", "a"]), min_count=1, max_categories=9)[1]
