"""Corrupted copies of table rows: values swapped for those that other rows have in the same column."""

import keras
from keras import ops

from tftransfer import placement

__all__ = ["corrupted_rows", "swap_values"]


def corrupted_rows(inputs, share, seed, *, where):
    """`(rows, corrupted)`: plain rows and a copy with swapped values, or both as a dict that brings them.

    Args:
        inputs: rows `(batch, features)`, or `{"rows": …, "corrupted": …}` made beforehand.
        share, seed, where: as in `swap_values`.

    Raises:
        ValueError: for another dict, such as the columns of a raw table, or a batch of one row.

    Example:

    >>> rows = ops.ones((4, 3))
    >>> same, corrupted = corrupted_rows(rows, 0.5, keras.random.SeedGenerator(0), where="VIME")
    >>> same is rows
    True
    """
    if not isinstance(inputs, dict):
        return inputs, swap_values(inputs, share, seed, where=where)[0]
    if set(inputs) != {"rows", "corrupted"}:
        raise ValueError(
            f"{where} reads encoded rows (batch, columns), or a dict of 'rows' and 'corrupted'; received the keys "
            f"{sorted(inputs)}. A table of columns becomes rows by TablePreprocessing().adapt(table).encode(table)."
        )
    return inputs["rows"], inputs["corrupted"]


def swap_values(rows, share, seed, *, where):
    """Replaces a random share of the values by values of the same column from random rows of the global batch.

    The replacement of each value is drawn on its own, so that a corrupted row follows the columns' marginal
    distributions and not their joint one.

    Args:
        rows: `(batch, features)`.
        share: probability in (0, 1) that a value is replaced.
        seed: a `keras.random.SeedGenerator` kept by the objective.
        where: name of the objective, for the message.

    Returns:
        `(corrupted, mask)`, both `(batch, features)`; the mask is float32, 1 = replaced.

    Raises:
        ValueError: for a batch of one row.

    Example:

    >>> rows = ops.reshape(ops.arange(12, dtype="float32"), (4, 3))
    >>> corrupted, mask = swap_values(rows, 0.5, keras.random.SeedGenerator(0), where="SCARF")
    >>> bool(ops.all(ops.equal(corrupted % 3, rows % 3)))  # every value stays in its column
    True
    """
    if rows.shape[0] == 1:
        raise ValueError(
            f"{where} takes replacements from the other rows of a batch; received a batch of one. Use a larger "
            f"batch_size."
        )
    features = rows.shape[1]
    everyone = placement.all_gather(rows)  # (total, features)
    draws = placement.per_example(
        lambda n: keras.random.uniform((n, 2, features), dtype="float32", seed=seed), ops.shape(rows)[0]
    )
    mask = draws[:, 0] < share  # (b, features)
    total = ops.shape(everyone)[0]
    donors = ops.cast(draws[:, 1] * ops.cast(total, "float32"), "int32")
    donors = ops.minimum(donors, total - 1)  # a draw just below 1 may round up
    replacements = ops.take_along_axis(everyone, donors, axis=0)  # (b, features)
    return ops.where(mask, replacements, rows), ops.cast(mask, "float32")
