"""Columns of a raw table, as numbers or as texts, and what is learned of each from the rows it is fitted on."""

import collections

import numpy as np

__all__ = ["as_columns", "fit_category", "fit_number", "is_number", "to_numbers", "to_texts"]

_MISSING_TYPES = ("NAType", "NaTType")  # pandas writes them; it need not be installed


def as_columns(table):
    """A raw table as a dict from column names to one-dimensional arrays of one length.

    Args:
        table: dict of columns, pandas DataFrame, structured array, or array `(rows, columns)`, whose columns are
            called `column_0`, ….

    Raises:
        ValueError: for anything else, columns of different lengths, or no rows.

    Example:

    >>> sorted(as_columns(np.ones((3, 2))))
    ['column_0', 'column_1']
    """
    if isinstance(table, dict):
        columns = {str(name): np.asarray(values) for name, values in table.items()}
    elif hasattr(table, "columns") and hasattr(table, "iloc"):  # a DataFrame
        columns = {str(name): np.asarray(table[name]) for name in table.columns}
    elif getattr(getattr(table, "dtype", None), "names", None):
        columns = {name: table[name] for name in table.dtype.names}
    elif isinstance(table, (np.ndarray, list)) and np.ndim(table) == 2:
        columns = {f"column_{i}": values for i, values in enumerate(np.asarray(table).T)}
    else:
        raise ValueError(
            f"a table is a dict of columns, a DataFrame, or an array (rows, columns); received "
            f"{type(table).__name__}. Of a pair (x, y) give x."
        )
    lengths = {name: len(values) if values.ndim == 1 else None for name, values in columns.items()}
    if not columns or None in lengths.values() or len(set(lengths.values())) > 1 or 0 in lengths.values():
        raise ValueError(
            f"a table has one or more columns, one-dimensional and of one length above 0; received lengths {lengths}."
        )
    return columns


def _is_missing(value):
    if value is None or (isinstance(value, str) and value == "") or type(value).__name__ in _MISSING_TYPES:
        return True
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


def is_number(values):
    """Whether a column holds numbers; texts and truth values are categories.

    Raises:
        ValueError: for times and other types.
    """
    if values.dtype.kind in "fiu":
        return True
    if values.dtype.kind in "bUS":
        return False
    if values.dtype.kind != "O":
        raise ValueError(
            f"a column of dtype {values.dtype} is neither numbers nor categories. Turn times into numbers first, "
            f"such as the days since a date."
        )
    given = [value for value in values if not _is_missing(value)]
    return all(isinstance(v, (int, float, np.number)) and not isinstance(v, bool) for v in given)


def to_numbers(values, name):
    """A column as float64, NaN where it is missing.

    Raises:
        ValueError: for texts that are no numbers, or infinite values.
    """
    if values.dtype.kind in "fiub":
        numbers = values.astype("float64")
    else:
        try:
            numbers = np.array([np.nan if _is_missing(v) else float(v) for v in values], "float64")
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"the column {name!r} is numeric, and one of its values is not: {error}. Mend the value, or fit with "
                f"categorical=({name!r},)."
            ) from None
    if np.isinf(numbers).any():
        raise ValueError(
            f"the column {name!r} holds {int(np.isinf(numbers).sum())} infinite values. Put NaN where a value is "
            f"missing, or a large number where it is large."
        )
    return numbers


def to_texts(values):
    """A column as a list of texts, None where it is missing; 3.0 and 3 are both "3"."""
    if values.dtype.kind == "U":
        return [value or None for value in values.tolist()]
    return [None if _is_missing(value) else _text(value) for value in values.tolist()]


def _text(value):
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def fit_number(name, values):
    """`(mean and deviation of a numeric column, whether it is constant)`; (None, …) where it has no value.

    A constant column is only centred.
    """
    numbers = to_numbers(values, name)
    given = numbers[~np.isnan(numbers)]
    if not given.size:
        return None, False
    deviation = float(given.std())
    constant = not deviation > 1e-9 * max(1.0, abs(float(given.mean())))
    column = {
        "name": name,
        "kind": "numeric",
        "mean": float(given.mean()),
        "deviation": 1.0 if constant else deviation,
        "missing": bool(given.size < numbers.size),
    }
    return column, constant and not column["missing"]


def fit_category(name, values, *, min_count, max_categories):
    """`(categories of a column, whether it is constant)`, the frequent ones first; (None, …) where it has no value.

    What is rarer shares a place with what is unseen.
    """
    texts = to_texts(values)
    counts = collections.Counter(text for text in texts if text is not None)
    if not counts:
        return None, False
    ordered = sorted(counts, key=lambda text: (-counts[text], text))
    kept = [text for text in ordered if counts[text] >= min_count][:max_categories]
    column = {
        "name": name,
        "kind": "categorical",
        "categories": kept,
        "missing": None in texts,
        "rare": len(kept) < len(ordered),
    }
    return column, len(counts) == 1 and not column["missing"]
