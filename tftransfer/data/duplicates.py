"""Examples that stand in two sets of data at once: exactly, by their bytes, and nearly, by a small picture."""

import collections
import hashlib

import numpy as np

from tftransfer.data import array_batches
from tftransfer.data.batches import batches, to_columns
from tftransfer.data.dataset_batches import is_dataset

_CHUNK = 1024  # examples fingerprinted at a time
_SIDE = 16  # pixels of the small picture; with 8, two pictures of one kind of shoe look alike
_SMALL = _SIDE * _SIDE  # numbers kept of an example
_NEAR = (
    0.993  # cosine; of 1,000 test pictures of MNIST, none has such a neighbour in 20,000 of its training ones
)
_LEAST = 32  # features below which rows of a table resemble one another by nature
_TABLES, _WINDOW, _BITS = 12, 8, 128

Duplicate = collections.namedtuple("Duplicate", "row reference_row similarity")


def find_duplicates(data, reference, *, near=True, input_shape=None):
    """Finds the examples of one set of data that also stand in another, as a test set must not.

    Exact ones by a hash of their values (uint8 pictures and the same in [0, 1] are equal). Near ones, such as
    a picture compressed anew, resized, or of other brightness or contrast, by the cosine of small copies:
    grey pictures of 16 × 16, or 256 random projections of a signal, less the mean of the reference, above
    0.993. Crops, shifts and mirrored copies are not found. Rows of whole numbers (tokens) and of fewer than 32
    features are compared exactly only.

    Each set is read once, in O(n); near ones are looked for among the neighbours in 12 sorted lists of random
    hash bits, in O(n log n), never pair by pair. A pair at the threshold is missed about once in a hundred.

    Reference: Charikar, "Similarity estimation techniques from rounding algorithms", 2002,
    https://doi.org/10.1145/509907.509965 ; Barz & Denzler, "Do we train on test data?", 2020,
    https://arxiv.org/abs/1902.00423

    Args:
        data: array x, pair (x, y), `Examples`, dict of arrays or `tf.data.Dataset`; labels are not looked at.
        reference: the same, what is searched.
        near: False for exact duplicates only.
        input_shape: as in `batches`, for a `tf.data.Dataset`.

    Returns:
        A list of `Duplicate(row, reference_row, similarity)`, at most one for each row of `data`, in the
        order of rows; `similarity` is 1.0 for an exact duplicate.

    Raises:
        ValueError: for data of another kind, or without examples.

    Example:

    >>> x = np.random.default_rng(0).integers(0, 255, (6, 8, 8, 1), "uint8")
    >>> [(found.row, found.reference_row) for found in find_duplicates(x[2:4], x)]
    [(0, 2), (1, 3)]
    """
    parts = [fingerprints(part, near=near, input_shape=input_shape) for part in (data, reference)]
    return match(*parts)


class Fingerprints:
    """What is kept of a set of examples: a hash of each, and a small copy where that makes sense.

    Attributes:
        digests: uint64 `(examples,)`.
        small: float16 `(examples, 256)`, rows of length 1 (0 for a flat picture); None without near search.
    """

    def __init__(self, digests, small):
        self.digests = digests
        self.small = small

    def __len__(self):
        return len(self.digests)


def fingerprints(data, *, near=True, input_shape=None):
    """The `Fingerprints` of a set of examples, from one pass over it.

    Args:
        data: see `find_duplicates`.
        near: False for hashes only.
        input_shape: as in `batches`.
    """
    digests, small, projections = [], [], {}
    for x in _chunks(data, input_shape):
        parts = [x[key] for key in sorted(x)] if isinstance(x, dict) else [x]
        rows = [np.ascontiguousarray(part).reshape(len(part), -1) for part in parts]
        digests.append(np.fromiter(map(_digest, *rows), np.uint64, len(rows[0])))
        if near and len(parts) == 1:
            small.append(_small(x, projections))
    if not digests:
        raise ValueError("the data is empty: 0 examples. Check where it was loaded or filtered.")
    whole = bool(small) and all(part is not None for part in small)
    return Fingerprints(np.concatenate(digests), np.concatenate(small) if whole else None)


def match(query, reference):
    """Duplicates of one `Fingerprints` in another; see `find_duplicates`."""
    order = np.argsort(reference.digests, kind="stable")
    ordered = reference.digests[order]
    place = np.minimum(np.searchsorted(ordered, query.digests), len(ordered) - 1)
    exact = ordered[place] == query.digests
    best = np.where(exact, order[place], -1)
    similarity = np.where(exact, 1.0, 0.0)
    if query.small is not None and reference.small is not None and not exact.all():
        if query.small.shape[1] == reference.small.shape[1]:
            rest = np.flatnonzero(~exact)
            best[rest], near = _nearest(query.small[rest], reference.small)
            similarity[rest] = np.minimum(near, 1 - 1e-6)  # 1 is for exact duplicates
    found = np.flatnonzero(similarity >= _NEAR)
    return [Duplicate(int(row), int(best[row]), float(similarity[row])) for row in found]


def _chunks(data, input_shape):
    """x in pieces, as float32 in [0, 1] for uint8, in order."""
    if is_dataset(data):
        for batch in batches(data, batch_size=_CHUNK, labels=False, input_shape=input_shape):
            yield array_batches.map_features(np.asarray, (batch,))[0]
        return
    (x,), size = to_columns(data, labels=False)
    for start in range(0, size, _CHUNK):
        rows = slice(start, start + _CHUNK)
        yield array_batches.map_features(lambda value, rows=rows: array_batches.to_float(value[rows]), (x,))[
            0
        ]


def _digest(*rows):
    digest = hashlib.blake2b(digest_size=8)
    for row in rows:
        digest.update(row)
    return int.from_bytes(digest.digest(), "little")


def _small(x, projections):
    """Small copies `(n, 256)`, each less its mean and of length 1; None where nearness means nothing."""
    if x.dtype.kind != "f":
        return None
    if x.ndim == 4 and x.shape[-1] in (1, 3, 4) and min(x.shape[1:3]) >= 8:
        small = _grey(x)  # (n, 256)
    elif x[0].size >= _LEAST:
        small = _project(x.reshape(len(x), -1), projections)
    else:
        return None
    length = np.linalg.norm(small, axis=1, keepdims=True)
    flat = length <= 1e-3
    return np.where(flat, 0, small / np.where(flat, 1, length)).astype(np.float16)


def _grey(x):
    """Mean of the pixels in each cell of a grid of 16 × 16, less the mean of the picture."""
    grey = np.nan_to_num(x[..., :3].mean(axis=-1, dtype=np.float32))
    grey = grey - grey.mean(axis=(1, 2), keepdims=True)
    rows, columns = (_cells(length) for length in grey.shape[1:])
    return (rows @ grey @ columns.T).reshape(len(x), -1)


def _cells(length):
    """Share of each of `length` pixels in each of 16 equal cells, so that sizes that divide oddly agree."""
    edges = np.linspace(0, length, _SIDE + 1)
    pixels = np.arange(length)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (np.clip(overlap, 0, None) * _SIDE / length).astype(np.float32)  # (16, length)


def _project(rows, projections, block=4096):
    """Random projections that keep distances; the matrix is made in blocks, the same in each call."""
    rows = np.nan_to_num(rows.astype(np.float32))
    rows = rows - rows.mean(axis=1, keepdims=True)
    total = np.zeros((len(rows), _SMALL), np.float32)
    for start in range(0, rows.shape[1], block):
        part = rows[:, start : start + block]
        if start not in projections:
            random = np.random.default_rng([7, start])
            projections[start] = random.standard_normal((part.shape[1], _SMALL), np.float32)
        total += part @ projections[start] / np.float32(np.sqrt(rows.shape[1]))
    return total


def _nearest(query, reference):
    """Row of the reference nearest to each query among the neighbours in sorted lists, and its cosine."""
    reference = reference.astype(np.float32)
    mean = reference.mean(axis=0)
    reference, query = (_unit(part, mean) for part in (reference, query.astype(np.float32)))
    random = np.random.default_rng(7)
    planes = random.standard_normal((query.shape[1], _BITS), np.float32)
    bits = [(part @ planes > 0) for part in (query, reference)]  # (n, 128) each
    best, similarity = np.full(len(query), -1), np.zeros(len(query), np.float32)
    steps = np.arange(-_WINDOW, _WINDOW)
    for _ in range(_TABLES):
        columns = random.permutation(_BITS)[:64]
        keys = [_key(part[:, columns]) for part in bits]
        order = np.argsort(keys[1])
        place = np.searchsorted(keys[1][order], keys[0])
        for start in range(0, len(query), _CHUNK):
            rows = slice(start, start + _CHUNK)
            near = order[np.clip(place[rows, None] + steps, 0, len(order) - 1)]  # (rows, window)
            cosine = np.einsum("nd,nwd->nw", query[rows], reference[near])
            which = cosine.argmax(axis=1)[:, None]
            value = np.take_along_axis(cosine, which, 1)[:, 0]
            better = value > similarity[rows]
            best[rows] = np.where(better, np.take_along_axis(near, which, 1)[:, 0], best[rows])
            similarity[rows] = np.where(better, value, similarity[rows])
    return best, similarity


def _key(bits):
    """64 columns of bits as one whole number a row, the first column the highest."""
    packed = np.ascontiguousarray(np.packbits(bits, axis=1))
    return packed.view(">u8")[:, 0].astype(np.uint64)


def _unit(rows, mean):
    flat = ~rows.any(axis=1, keepdims=True)
    rows = rows - mean
    return np.where(flat, 0, rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6))
