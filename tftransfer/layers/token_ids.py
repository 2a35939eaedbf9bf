"""Ids of texts that know which tokenizer made them, and that what stands behind them is padding."""

import numpy as np

__all__ = ["TokenIds"]


class TokenIds(np.ndarray):
    """An array of ids `(rows, length)`, padded with 0 on the right, as `Tokenization` makes them.

    It is a NumPy array in all it does. That it is of this type tells `data.batches` to put rows of like length into one
    batch and to cut the batch to its longest row; and it tells a model whether the ids are of its own tokenizer.
    Labels of each token come as `TokenIds` too, of the shape of the ids, and are cut with them.

    Args:
        ids: int array `(rows, length)`.
        checksum: that of the tokenizer; None where it is not known.

    Attributes:
        checksum: the same; parts of the array have it too.

    Example:

    >>> ids = TokenIds([[5, 6, 0], [7, 0, 0]], checksum="c0ffee")
    >>> ids[1:].checksum, ids.lengths.tolist()
    ('c0ffee', [2, 1])
    """

    def __new__(cls, ids, checksum=None):
        array = np.asarray(ids).view(cls)
        array.checksum = checksum
        return array

    def __array_finalize__(self, source):
        self.checksum = getattr(source, "checksum", None)

    def __reduce__(self):
        return TokenIds, (np.asarray(self), self.checksum)

    @property
    def lengths(self):
        """Tokens of each row, up to the last that is no padding."""
        ids = np.asarray(self)
        return np.where((ids != 0).any(1), ids.shape[1] - (ids[:, ::-1] != 0).argmax(1), 0)
