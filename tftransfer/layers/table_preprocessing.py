"""What a table becomes before a model reads it, fitted on training rows and kept with the model."""

import warnings

import keras
import numpy as np
from keras import ops

from tftransfer.layers.config import Configured, register
from tftransfer.layers.table_columns import (
    as_columns,
    fit_category,
    fit_number,
    is_number,
    to_numbers,
    to_texts,
)

__all__ = ["MISSING", "TablePreprocessing", "preprocessing_of"]

MISSING = -1000.0  # what `encode` writes for a missing number, far outside of what a standardised one can be
_CLIP = 10.0  # deviations: one typing error must not rule a step
_MOST_CATEGORIES = 250  # codes are whole numbers up to 256, which every precision holds exactly


@register
class TablePreprocessing(Configured, keras.layers.Layer):
    """Standardises the numbers of a table and numbers its categories, as the rows that it was fitted on say.

    Two halves. `encode` turns a raw table (texts, numbers, gaps) into rows `(rows, columns)` of float32, one value for
    each column: a number less its mean, in deviations, cut at ±10; the code of a category. Objectives corrupt and hide
    such values, and whole categories with them. `call`, inside the model, turns encoded rows into what a
    `Dense` layer reads: each number, a flag where it is missing, each category as one-hot.

    Everything learned is in the layer's config, so that it travels with the model: `backbones.mlp(preprocessing)`
    and `backbones.table_transformer(preprocessing)` hold the layer, a weights file holds them, and
    `preprocessing_of(load_backbone(path)).encode(new_rows)` repeats it. Fit it on training rows only.

    What is special: a missing value (NaN, None, empty text) has a place of its own; a category that was not there in
    fitting, or too rare, is *unseen* and has one as well. Both count as nothing (a zero, the mean) where fitting had
    no example of them, for then nothing could be learned of them. A constant column is kept, with a
    warning; a column without any value is an error.

    Args:
        columns: what `adapt` learned, one dict a column; None before.

    Input: encoded rows `(batch, columns)`. Output: `(batch, width)`.

    Raises:
        ValueError: when it is called before `adapt`, or with another number of columns.

    Example:

    >>> table = {"age": [39, 50, None], "job": ["clerk", "cook", "clerk"]}
    >>> preprocessing = TablePreprocessing().adapt(table)
    >>> preprocessing.encode({"age": [50], "job": ["pilot"]}).tolist()  # a deviation above the mean; 1 = unseen
    [[1.0, 1.0]]
    >>> preprocessing.width  # age, age missing, and job: missing, unseen, clerk, cook
    6
    """

    def __init__(self, columns=None, **kwargs):
        kwargs.pop("autocast", None)
        super().__init__(**{"name": "preprocessing", **kwargs}, autocast=False)  # codes stay whole numbers
        self.columns = None
        if columns is not None:
            self._take(columns)

    @classmethod
    def plain(cls, count):
        """For `count` columns of numbers that are standardised already and have no gaps."""
        number = {"kind": "numeric", "mean": 0.0, "deviation": 1.0, "missing": False}
        return cls([{"name": f"column_{i}", **number} for i in range(count)])

    def adapt(self, table, *, categorical=(), drop=(), min_count=1, max_categories=100):
        """Learns means, deviations and categories from training rows.

        Args:
            table: dict of columns, DataFrame, or array `(rows, columns)`; NaN, None and "" mean missing.
            categorical: names of columns of numbers that are categories, such as postal codes.
            drop: names of columns to leave out.
            min_count: categories that occur fewer times are treated as unseen ones.
            max_categories: so many of a column's categories are told apart, the most frequent ones; at most 250.

        Returns:
            The layer itself.

        Raises:
            ValueError: a column without any value, unknown names, no column left, or a layer that is part of a
                model already.
        """
        if self.built:
            raise ValueError(
                "This preprocessing is part of a model already, whose weights belong to what it learned before. Adapt "
                "a new TablePreprocessing, and build a new model on it."
            )
        if not 1 <= max_categories <= _MOST_CATEGORIES or min_count < 1:
            raise ValueError(
                f"max_categories lies between 1 and {_MOST_CATEGORIES} and min_count is 1 or more; received "
                f"{max_categories} and {min_count}."
            )
        columns = as_columns(table)
        unknown = sorted({*categorical, *drop} - set(columns))
        if unknown or not set(columns) - set(drop):
            raise ValueError(
                f"The table has the columns {list(columns)}; categorical={tuple(categorical)} and drop={tuple(drop)} "
                + (f"name {unknown}, which it lacks." if unknown else "leave none of them.")
            )
        found, limits = {}, {"min_count": min_count, "max_categories": max_categories}
        for name in (name for name in columns if name not in drop):
            values = columns[name]
            number = name not in categorical and is_number(values)
            found[name] = fit_number(name, values) if number else fit_category(name, values, **limits)
        empty = [name for name, (column, _) in found.items() if column is None]
        if empty:
            raise ValueError(
                f"The columns {empty} hold no value at all in these rows. Leave them out: drop={tuple(empty)}."
            )
        constant = [name for name, (_, same) in found.items() if same]
        if constant:
            warnings.warn(
                f"The columns {constant} hold one value only and say nothing. They are kept; drop={tuple(constant)} "
                f"leaves them out.",
                stacklevel=2,
            )
        self._take([column for column, _ in found.values()])
        return self

    def _take(self, columns):
        self.columns = [dict(column) for column in columns]
        numeric = np.array([column["kind"] == "numeric" for column in self.columns])
        sizes = [
            2 + (0 if column["kind"] == "numeric" else len(column["categories"])) for column in self.columns
        ]
        places = [
            [1, c["missing"]]
            if c["kind"] == "numeric"
            else [c["missing"], c["rare"], *[1] * len(c["categories"])]
            for c in self.columns
        ]
        self.numeric = numeric  # (columns,)
        self.sizes = np.array(sizes, "int32")  # places of each column
        self.offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype("int32")
        self.width = int(sum(sizes))
        self.known = np.concatenate(places).astype("float32")  # 0: fitting had no example of this

    @property
    def names(self):
        """Names of the columns, in order."""
        return [column["name"] for column in self.columns]

    def encode(self, table):
        """Raw rows as the model reads them: `(rows, columns)`, float32.

        Missing numbers are `-1000`; categories are 0 (missing), 1 (unseen), 2, 3, … in the order of `columns`.

        Args:
            table: as in `adapt`; columns that were not there in fitting are left out.

        Raises:
            ValueError: a column is absent, or holds text where fitting had numbers.
        """
        self._check_fitted()
        table = as_columns(table)
        absent = [name for name in self.names if name not in table]
        if absent:
            raise ValueError(
                f"The table lacks the columns {absent}, which the model reads; it has {list(table)}."
            )
        rows = np.empty((len(next(iter(table.values()))), len(self.columns)), "float32")
        for i, column in enumerate(self.columns):
            name, values = column["name"], table[column["name"]]
            if column["kind"] == "numeric":
                numbers = (to_numbers(values, name) - column["mean"]) / column["deviation"]
                rows[:, i] = np.where(np.isnan(numbers), MISSING, np.clip(numbers, -_CLIP, _CLIP))
                continue
            code = {text: number for number, text in enumerate(column["categories"], 2)}
            rows[:, i] = [0 if text is None else code.get(text, 1) for text in to_texts(values)]
            given = rows[rows[:, i] > 0, i]
            if given.size > 1 and (given == 1).all() and column["categories"]:
                warnings.warn(
                    f"None of the categories of the column {name!r} was there in fitting (such as "
                    f"{to_texts(values[:1])[0]!r} beside {column['categories'][0]!r}): is it spelled otherwise?",
                    stacklevel=2,
                )
        return rows

    def decode(self, rows):
        """The inverse of `encode`: a dict of columns; missing numbers are NaN, missing categories None."""
        self._check_fitted()
        table, rows = {}, np.asarray(rows, "float64")
        for i, column in enumerate(self.columns):
            values = rows[:, i]
            if column["kind"] == "numeric":
                values = np.where(values < MISSING / 2, np.nan, values * column["deviation"] + column["mean"])
            else:
                texts = np.array([None, "unseen", *column["categories"]], dtype=object)
                values = texts[np.clip(np.rint(values), 0, len(texts) - 1).astype(int)]
            table[column["name"]] = values
        return table

    def places(self, rows):
        """Where each value stands among the `width` places, and how much it counts there.

        Args:
            rows: encoded `(batch, columns)`.

        Returns:
            `(place, value, present)`, each `(batch, columns)`: int32, float32 and bool.
        """
        rows = ops.cast(rows, "float32")
        gap = ops.logical_and(rows < MISSING / 2, self.numeric)
        code = ops.cast(ops.clip(ops.round(rows), 0.0, ops.cast(self.sizes - 1, "float32")), "int32")
        place = ops.where(self.numeric, ops.cast(gap, "int32"), code)
        value = ops.where(ops.logical_and(self.numeric, ops.logical_not(gap)), rows, 1.0)
        present = ops.logical_not(ops.logical_or(gap, ops.logical_and(~self.numeric, code == 0)))
        return place + self.offsets, value, present

    def one_hot(self, rows):
        """Each value at its place: `(batch, columns, width)`, float32."""
        place, value, _ = self.places(rows)
        return ops.one_hot(place, self.width, dtype="float32") * self.known * value[..., None]

    def build(self, input_shape):
        self._check_fitted()
        if tuple(input_shape)[1:] != (len(self.columns),):
            raise ValueError(
                f"This preprocessing knows {len(self.columns)} columns, and received rows of shape "
                f"{tuple(input_shape)}. Give it what its `encode` returns."
            )

    def call(self, rows):
        return ops.cast(ops.sum(self.one_hot(rows), axis=1), self.compute_dtype)  # (b, width)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.width)

    def _check_fitted(self):
        if self.columns is None:
            raise ValueError("This preprocessing has seen no rows yet. Call adapt(training_rows) first.")


def preprocessing_of(model):
    """The `TablePreprocessing` inside a model, or None where it has none.

    Args:
        model: a `keras.Model` or layer, such as what `weights.load_backbone` returns.

    Example:

    >>> from tftransfer import backbones
    >>> preprocessing = TablePreprocessing().adapt({"age": [39, 50], "job": ["clerk", "cook"]})
    >>> preprocessing_of(backbones.mlp(preprocessing, units=(4,))).names
    ['age', 'job']
    """
    layers = model._flatten_layers(include_self=True, recursive=True)
    return next((layer for layer in layers if isinstance(layer, TablePreprocessing)), None)
