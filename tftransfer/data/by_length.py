"""Batches of texts of like length, cut to a few lengths, so that little of them is padding."""

import keras
import numpy as np

from tftransfer.layers.token_ids import TokenIds

__all__ = ["ByLength", "bucket_lengths"]


def bucket_lengths(lengths, *, most=16, waste=0.04):
    """The lengths that batches are cut to: as few as leave no more than a share of padding, `most` at most.

    Args:
        lengths: tokens of each row.
        most: number of lengths at most; each may be compiled for itself.
        waste: share of padding that is tolerated.

    Returns:
        int array, increasing, the longest row last; the best of all choices of as many.

    Example:

    >>> bucket_lengths([3, 3, 3, 4, 9, 9, 10], most=2).tolist()
    [4, 10]
    """
    step = max(1, -(-int(np.max(lengths, initial=1)) // 256))  # so many candidates at most
    values, counts = np.unique(-(-np.maximum(lengths, 1) // step) * step, return_counts=True)
    values[-1] = max(int(np.max(lengths, initial=1)), 1)
    if len(values) == 1:
        return values
    rows = np.concatenate([[0], np.cumsum(counts)])
    tokens = np.concatenate([[0], np.cumsum(counts * values)])
    n = len(values)  # cost[i, j]: padding of rows i … j when cut to values[j]
    cost = np.where(
        np.tri(n, dtype=bool).T,
        values[None] * (rows[1:][None] - rows[:-1][:, None]) - (tokens[1:][None] - tokens[:-1][:, None]),
        np.inf,
    )
    best, chosen = cost[0], []
    while best[-1] > waste * (best[-1] + tokens[-1]) and len(chosen) < most - 1:
        with_next = np.where(np.isfinite(cost[1:]), best[:-1, None] + cost[1:], np.inf)  # (last of before, j)
        chosen.append(with_next.argmin(0))
        best = np.minimum(with_next.min(0), np.inf)
    ends, end = [n - 1], n - 1
    for before in reversed(chosen):
        end = int(before[end])
        ends.append(end)
    return values[np.unique(ends)]


class ByLength:
    """Which rows make up a batch, and how long it is; a function of (seed, epoch, step) alone.

    Rows of an epoch are shuffled, sorted by the length that they are cut to, and the batches shuffled: which rows of a
    length meet, and when, changes with each epoch. Without `shuffle` they stay in order and are only cut.

    Args:
        columns: as in `batches`: `(x, …)`, x a `TokenIds` or a dict with some.
        batch_size: rows a batch.
        steps: batches an epoch.
        shuffle: whether each epoch has an order of its own.
        seed: non-negative integer.
        length_warmup_steps: steps over which rows are cut shorter still: to an eighth of the longest at first, at least
            8 tokens, then to two eighths, … What is cut off is not read in that step.
        one_length: whether all batches are as long as the longest row.

    Reference of the warm-up: Li et al., The Stability-Efficiency Dilemma: Investigating Sequence Length Warmup for
    Training GPT Models, 2022, https://arxiv.org/abs/2108.06084

    Example:

    >>> order = ByLength((TokenIds([[5, 0, 0], [6, 7, 8], [9, 0, 0]]),), 2, steps=2, shuffle=False, seed=0)
    >>> [part.tolist() for part in order(0, 0)], [part.tolist() for part in order(0, 1)]
    ([[0, 1], [3]], [[2], [1]])
    """

    def __init__(self, columns, batch_size, *, steps, shuffle, seed, length_warmup_steps=0, one_length=False):
        flat = keras.tree.flatten(columns)
        self.length_warmup_steps = length_warmup_steps
        self.batch_size, self.steps, self.shuffle, self.seed = batch_size, steps, shuffle, seed
        self.size = len(flat[0])
        self.widths_of, self._buckets, shapes = [], [], {}  # of each column the place of its width, or None
        first_y = len(keras.tree.flatten(columns[0]))
        for number, column in enumerate(flat):
            if not isinstance(column, TokenIds) or column.ndim < 2:
                self.widths_of.append(None)
            elif number >= first_y and column.shape[1] in shapes:  # labels of the tokens of x
                self.widths_of.append(shapes[column.shape[1]])
            else:
                lengths = column.lengths
                buckets = bucket_lengths(lengths, most=1 if one_length else 16)
                shapes.setdefault(column.shape[1], len(self._buckets))
                self.widths_of.append(len(self._buckets))
                self._buckets.append((buckets, np.searchsorted(buckets, lengths)))
        self._order = (None, None)

    @staticmethod
    def serves(columns):
        """Whether there is something to cut."""
        return any(isinstance(column, TokenIds) for column in keras.tree.flatten(columns[0]))

    def __call__(self, epoch, step):
        """`(rows of the batch, widths of its token columns)`, int64."""
        first = int(step) * self.batch_size
        rows = self._epoch(int(epoch))[first : first + self.batch_size]
        widths = [int(buckets[place[rows].max()]) for buckets, place in self._buckets]
        done = int(epoch) * self.steps + int(step)
        if done < self.length_warmup_steps:
            eighths = 1 + 7 * done // self.length_warmup_steps  # 1 to 7
            longest = [max(8, -(-int(buckets[-1]) * eighths // 8)) for buckets, _ in self._buckets]
            widths = [min(width, most) for width, most in zip(widths, longest, strict=True)]
        return rows, np.array(widths, "int64")

    def cut(self, columns, widths):
        """The columns of a batch, those of tokens cut to their widths."""
        flat = keras.tree.flatten(columns)
        lengths = [buckets for buckets, _ in self._buckets]
        one = [len(each) == 1 and not self.length_warmup_steps for each in lengths]  # then it is static
        known = [int(lengths[w][0]) if one[w] else widths[w] for w in range(len(lengths))]
        flat = [c if w is None else c[:, : known[w]] for c, w in zip(flat, self.widths_of, strict=True)]
        return keras.tree.pack_sequence_as(columns, flat)

    def _epoch(self, epoch):
        if not self.shuffle:
            return np.arange(self.size)
        known, order = self._order  # read once: several threads may ask
        if known != epoch:
            order = self._shuffled(np.random.default_rng([self.seed, epoch]))
            self._order = (epoch, order)
        return order

    def _shuffled(self, random):
        order, size = random.permutation(self.size), self.batch_size
        order = order[: self.steps * size]
        order = order[np.argsort(self._buckets[0][1][order], kind="stable")]
        whole = len(order) // size  # a last, short batch stays the last
        batches = random.permutation(order[: whole * size].reshape(whole, size))
        return np.concatenate([batches.ravel(), order[whole * size :]])
