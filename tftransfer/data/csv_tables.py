"""Tables in text files, `.csv` and `.tsv`, as columns of numbers and of texts."""

import csv
import os
from pathlib import Path

import numpy as np

from tftransfer.data.examples import Examples
from tftransfer.data.text_files import text_array

_MISSING = ("", "?", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "#N/A")
_MEMORY = 8  # bytes in memory for each byte of the file, rather too many


def load_csv(
    path,
    *,
    label=None,
    class_names=None,
    split=None,
    names=None,
    missing=_MISSING,
    text=None,
    memory_limit=2 * 1024**3,
):
    """Reads a table from a text file: a dict of columns, and, where there is one, the column of labels.

    Columns whose every value is a number become float64, NaN where a value is missing; others become text, "" where
    one is missing. Numbers with leading zeros, such as postal codes, stay text. Turn the columns into what
    a model reads with a `layers.TablePreprocessing` that is fitted on the training rows.

    Args:
        path: The file, UTF-8; columns are separated by commas, in a `.tsv` by tabs.
        label: Name of the column that holds the labels; it is no part of x. Texts become class numbers, in the order
            of the sorted `class_names`; numbers stay numbers.
        class_names: The classes in the order of their numbers, such as `train.class_names` for a test file, in which
            some class may be missing. Any other label is an error.
        split: A part of the table that lies in a file of its own: "test" with `rows.csv` reads `rows_test.csv`. None
            reads the file itself.
        names: Names of the columns, for a file without a first row of names.
        missing: Texts that mean that a value is missing.
        text: Name of the column that holds the texts, for a model of texts: x is this column alone, as it stands.
        memory_limit: Bytes to hold in memory at most.

    Returns:
        `Examples` with x a dict from names to arrays (rows,), or with `text` an array of `str`; y is None without
        `label`.

    Raises:
        FileNotFoundError: When there is no such file.
        ValueError: When the file is empty or too big, rows differ in length, names are not distinct, there is no
            column `label`, or labels are missing or none of `class_names`.

    Example:

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "people.csv")
    >>> with open(path, "w") as file:
    ...     _ = file.write("age,job,pay\\n39,clerk,low\\n?,cook,high\\n")
    >>> people = load_csv(path, label="pay")
    >>> people.x["age"].tolist(), people.x["job"].tolist(), people.y.tolist(), people.class_names
    ([39.0, nan], ['clerk', 'cook'], [1, 0], ['high', 'low'])
    """
    path = Path(path)
    if split is not None:
        path = path.with_name(f"{path.stem}_{split}{path.suffix}")
    if not path.is_file():
        part = f" (the part {split!r} of a table is a file of its own)" if split else ""
        raise FileNotFoundError(f"there is no file {path}{part}. Give the path of a .csv or .tsv file.")
    if os.path.getsize(path) * _MEMORY > memory_limit:
        raise ValueError(
            f"{path} has {os.path.getsize(path) / 1024**3:.2f} GiB and would take more than memory_limit "
            f"({memory_limit / 1024**3:.2f} GiB). Raise memory_limit (bytes), or read it in parts."
        )
    names, rows = _read(path, names)
    if label is not None and label not in names:
        raise ValueError(f"{path} has no column {label!r} for the labels. It has {names}.")
    if text is not None:
        if text not in names or text == label:
            raise ValueError(
                f"{path} has no column {text!r} for the texts besides the labels. It has {names}."
            )
        texts = text_array([row[names.index(text)] for row in rows])
        kept = () if label is None else (label,)
        rows = [[row[names.index(name)] for name in kept] for row in rows]
        names = list(kept)
    gaps = frozenset(missing)
    columns = {
        name: _column(values, gaps) for name, values in zip(names, zip(*rows, strict=True), strict=True)
    }
    y, class_names = (None, None) if label is None else _labels(columns.pop(label), label, path, class_names)
    if text is not None:
        return Examples(texts, y, class_names=class_names, name=path.stem)
    if not columns:
        raise ValueError(f"{path} has no column besides the labels.")
    return Examples(columns, y, class_names=class_names, name=path.stem)


def _read(path, names):
    with open(path, encoding="utf-8-sig", newline="") as file:
        separator = "\t" if path.suffix.lower() == ".tsv" else ","
        try:
            rows = [row for row in csv.reader(file, delimiter=separator, skipinitialspace=True) if row]
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path} cannot be read as a table in UTF-8: {error}.") from error
    if names is None and rows:
        names = [name.strip() for name in rows.pop(0)]
    if not rows:
        raise ValueError(f"{path} has no rows.")
    names = list(names)
    if len(set(names)) != len(names) or "" in names:
        raise ValueError(
            f"{path} needs columns with distinct names; its first row is {names}. For a file without a row of names, "
            f"give them: names=[…]."
        )
    odd = next((i for i, row in enumerate(rows) if len(row) != len(names)), None)
    if odd is not None:
        raise ValueError(
            f"{path} has {len(names)} columns and {len(rows[odd])} values in row {odd + 1} of values. Columns "
            f"are separated by {'tabs' if separator == chr(9) else 'commas'}."
        )
    return names, rows


def _column(values, missing):
    """Texts as float64 where all of them are numbers, else as text."""
    values = ["" if value.strip() in missing else value.strip() for value in values]
    given = [value for value in values if value]
    if not any(len(v) > 1 and v[0] == "0" and v.isdigit() for v in given):
        try:
            return np.array([float(value) if value else np.nan for value in values])
        except ValueError:
            pass
    return np.array(values)


def _labels(column, label, path, class_names):
    gaps = np.isnan(column) if column.dtype.kind == "f" else column == ""
    if gaps.any():
        raise ValueError(
            f"the labels {label!r} of {path} are missing in {int(gaps.sum())} of {len(column)} rows (the first: row "
            f"{int(np.flatnonzero(gaps)[0]) + 1}). Put rows without labels into a file of their own."
        )
    if class_names is not None:
        number = {str(name): i for i, name in enumerate(class_names)}
        labels = [f"{value:g}" for value in column] if column.dtype.kind == "f" else column.tolist()
        unknown = sorted(set(labels) - set(number))
        if unknown:
            raise ValueError(
                f"{path} has labels {label!r} that are none of class_names: {unknown[:5]}. Known are "
                f"{list(number)[:5]}{' and others' if len(number) > 5 else ''}. Correct them, leave these rows out, or "
                f"train a model that knows them."
            )
        return np.array([number[value] for value in labels], "int64"), list(class_names)
    if column.dtype.kind == "f":
        return (column.astype("int64") if (column == np.round(column)).all() else column), None
    class_names, y = np.unique(column, return_inverse=True)
    return y.astype("int64"), class_names.tolist()
