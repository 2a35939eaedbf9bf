"""From what a user holds, texts or ids, to the ids that a text model reads; anything else is left as it is."""

import numpy as np

from tftransfer.layers.text_embedding import TokenPositions, word_table
from tftransfer.layers.token_ids import TokenIds
from tftransfer.layers.tokenization import tokenization_of

__all__ = ["are_texts", "to_ids"]

_COLUMNS = ("text", "sentence")  # of a table, where several hold texts


def are_texts(x):
    """Whether x is a list or array of texts, `str` or `bytes`.

    Args:
        x: anything.

    Example:

    >>> are_texts(["a text", "another"]), are_texts(np.zeros((2, 3)))
    (True, False)
    """
    if isinstance(x, (list, tuple)):
        return len(x) > 0 and isinstance(x[0], (str, bytes))
    kind = getattr(getattr(x, "dtype", None), "kind", "")
    if kind == "O":
        flat = np.asarray(x).ravel()
        return flat.size > 0 and isinstance(flat[0], (str, bytes))
    return kind in ("U", "S", "T")


def to_ids(x, model, *, rows="truncate", name="the data"):
    """x as a text model reads it: texts are encoded by the model's own tokenizer, ids are looked at.

    Args:
        x: texts; ids `(rows, length)`; or a table (dict of columns) with one column of texts, or one named "text" or
            "sentence". Anything else, and everything for a model that reads no texts, is returned as it is.
        model: a backbone, task or objective.
        rows: what becomes of texts that are longer than a row: "truncate", "window" (several rows of one text), or
            "pack" (`Tokenization.pack`: documents one behind the other).
        name: how messages call the data.

    Returns:
        `TokenIds`, or x.

    Raises:
        ValueError: for texts and a model without tokenizer, ids of another tokenizer (by its checksum), ids out of
            range, rows longer than the position table.

    Example:

    >>> from tftransfer import backbones
    >>> from tftransfer.layers import Tokenization
    >>> tokenization = Tokenization(max_length=6).adapt(["the cat sat"] * 4, vocabulary_size=40, verbose=0)
    >>> to_ids(["the cat"], backbones.gru(tokenization, width=8, depth=1)).shape
    (1, 6)
    """
    backbone = getattr(model, "backbone", model)
    tokenization = tokenization_of(backbone)
    if tokenization is None and word_table(backbone) is None:
        return x
    if isinstance(x, dict) and tokenization is not None:
        x = _column(x, name)
    if are_texts(x):
        if tokenization is None:
            raise ValueError(
                f"{name} holds texts, and {backbone.name!r} was built on ids without a tokenizer. Build it on a fitted "
                f"layers.Tokenization, or give ids (rows, length)."
            )
        encode = {"truncate": tokenization.encode, "pack": tokenization.pack}
        encode["window"] = lambda texts: tokenization.encode(texts, overflow="window")
        try:
            return encode[rows](x)
        except ValueError as error:
            raise ValueError(f"{name} cannot be read: {error}") from error
    if isinstance(x, list) and x and np.ndim(x[0]) == 1:
        x = np.asarray(x)
    if not isinstance(x, np.ndarray) or x.ndim != 2 or x.dtype.kind not in "iu":
        return x
    _check_ids(x, backbone, tokenization, name)
    return TokenIds(x.astype("int32", copy=False), getattr(x, "checksum", None))


def _column(table, name):
    """The column of texts of a table; the table itself where no column is one."""
    columns = [key for key, values in table.items() if are_texts(values)]
    if len(columns) > 1:
        columns = [key for key in columns if key in _COLUMNS][:1] or columns
    if len(columns) > 1:
        raise ValueError(
            f"{name} has several columns of texts ({', '.join(columns)}), and the model reads one. Say which one when "
            f"you load it: tt.data.load(path, text={columns[0]!r}, label=…)."
        )
    return table[columns[0]] if columns else table


def _check_ids(ids, backbone, tokenization, name):
    table, mine = word_table(backbone), getattr(tokenization, "checksum", None)
    theirs = getattr(ids, "checksum", None)
    if mine and theirs and mine != theirs:
        raise ValueError(
            f"{name} was encoded by another tokenizer (checksum {theirs}) than the one that {backbone.name!r} was "
            f"trained with ({mine}): the same ids mean other words. Give the texts themselves, or encode them by "
            f"tt.layers.tokenization_of(model)."
        )
    vocabulary = tokenization.vocabulary_size if table is None else int(table.shape[0])
    low, high = int(ids.min(initial=0)), int(ids.max(initial=0))
    if low < 0 or high >= vocabulary:
        raise ValueError(
            f"{name} has ids from {low} to {high}, and {backbone.name!r} knows 0 (padding) to {vocabulary - 1}. Encode "
            f"the texts with the tokenizer that it was built on."
        )
    places = [part.max_length for part in backbone._flatten_layers() if isinstance(part, TokenPositions)]
    longest = int(TokenIds(ids).lengths.max(initial=0))
    if places and longest > min(places):
        raise ValueError(
            f"{name} has texts of {longest} tokens, and the position table of {backbone.name!r} {min(places)} places. "
            f"Encode them with max_length={min(places)}, or pretrain a backbone with a larger one."
        )
