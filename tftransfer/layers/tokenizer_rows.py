"""Lists of ids as rows of one array."""

import itertools

import numpy as np

__all__ = ["cut_pair", "list_of", "padded"]


def list_of(texts):
    """Texts of an array or sequence as a list."""
    if isinstance(texts, (str, bytes)):
        raise ValueError(f"Give a list of texts; received a single one: [{texts[:40]!r}].")
    return texts if isinstance(texts, (list, tuple)) else np.asarray(texts).ravel().tolist()


def cut_pair(a, b, room):
    """Two lists of ids cut so that they fit together, the longer one first."""
    a = a[: max(room // 2, room - len(b))]
    return a, b[: room - len(a)]


def padded(rows, length):
    """Lists of ids as int32 `(rows, length)`, with 0 behind them."""
    sizes = np.fromiter(map(len, rows), "int64", len(rows))
    array = np.zeros((len(rows), length), "int32")
    array[np.arange(length) < sizes[:, None]] = np.fromiter(itertools.chain.from_iterable(rows), "int32")
    return array
