"""Spans of a text cut out, and what is to be said of them: T5's noise, inside the graph, at fixed shapes."""

import keras
from keras import ops

from tftransfer import placement
from tftransfer.layers.token_masking import maskable, share_of

__all__ = ["cut_spans"]


def cut_spans(ids, *, ratio, mean_length, special_ids, mask_id, end_id, seed):
    """Replaces random spans of each row by one mask each, and lists what they held.

    Of a row's n free tokens `N = max(1, round(ratio · n))` are noise, in `S = max(1, round(N / mean_length))` spans.
    Noise and the rest are each parted at random into S pieces, and laid in turn, beginning with the rest: every way to
    do so is equally likely.

    Reference: Raffel et al., Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer (T5),
    2019, https://arxiv.org/abs/1910.10683
    Differs from it in: one mask stands for every span, which their order tells apart, in place of a token for each.

    Args:
        ids: int `(batch, tokens)`, 0 = padding; the free tokens of a row stand side by side.
        ratio: share of the free tokens that is cut out, in (0, 1).
        mean_length: of a span, in tokens.
        special_ids: ids that are never cut out.
        mask_id, end_id: what stands in the place of a span, and behind the last one of the target.
        seed: a `keras.random.SeedGenerator` kept by the objective.

    Returns:
        `(corrupted, target, noise)`: ids `(batch, tokens)`, padding at their ends; `(batch, T)`, for each span
        the mask and its tokens, then `end_id`, then padding; bool `(batch, tokens)`, what was cut out.

    Example:

    >>> ids = ops.convert_to_tensor([[2, 10, 11, 12, 13, 3, 0]])
    >>> options = {"special_ids": (0, 1, 2, 3, 4), "mask_id": 4, "end_id": 3, "seed": keras.random.SeedGenerator(0)}
    >>> corrupted, target, noise = cut_spans(ids, ratio=0.5, mean_length=2, **options)
    >>> int(ops.sum(noise)), tuple(target.shape), ops.convert_to_numpy(target)[0, [0, 3]].tolist()
    (2, (1, 8), [4, 3])
    """
    ids = ops.cast(ids, "int32")
    rows, n = ops.shape(ids)
    draws = placement.per_example(
        lambda many: keras.random.uniform((many, 2, n), dtype="float32", seed=seed), rows
    )
    free = ops.cast(maskable(ids, special_ids), "int32")
    size = ops.sum(free, axis=1, keepdims=True)  # (b, 1)
    cut = _rounded(ops.cast(size, "float32") * ratio)
    cut = ops.minimum(ops.maximum(cut, 1), ops.maximum(size - 1, 0))  # something stays
    spans = _rounded(ops.cast(cut, "float32") / mean_length)
    spans = ops.minimum(ops.maximum(spans, 1), ops.minimum(cut, size - cut))
    most = share_of(n, ratio / mean_length) + 1
    hidden = _parts(draws[:, 0], cut, spans, most)  # (b, most): lengths
    seen = _parts(draws[:, 1], size - cut, spans, most)
    first = ops.cumsum(seen, axis=1) + ops.cumsum(hidden, axis=1) - hidden  # (b, most): among the free tokens
    real = ops.arange(most, dtype="int32")[None] < spans
    place = ops.cumsum(free, axis=1) - 1  # (b, n): rank among the free tokens
    place, first, behind = place[:, :, None], first[:, None], (first + hidden)[:, None]
    inside = ops.logical_and(ops.logical_and(place >= first, place < behind), real[:, None])
    noise = ops.logical_and(ops.any(inside, axis=2), free > 0)  # (b, n)
    begins = ops.logical_and(ops.any(ops.logical_and(ops.equal(place, first), inside), axis=2), noise)
    corrupted = _in_order(ops.where(begins, mask_id, ids), ops.logical_or(begins, ops.logical_not(noise)))
    longest = share_of(n, ratio) + most + 1
    return corrupted, _target(ids, noise, begins, mask_id, end_id)[:, :longest], noise


def _rounded(x):
    return ops.cast(ops.floor(x + 0.5), "int32")


def _parts(draws, size, parts, most):
    """Lengths `(batch, most)` of `size` things parted at random into `parts` that are not empty, zeros behind."""
    n = ops.shape(draws)[1]
    places = ops.arange(n, dtype="int32")[None]
    cuttable = ops.logical_and(places >= 1, places < size)  # a cut before each of these
    rank = ops.argsort(ops.argsort(ops.where(cuttable, draws, 2.0), axis=1), axis=1)
    cuts = ops.logical_and(cuttable, ops.cast(rank, "int32") < parts - 1)
    part = ops.cumsum(ops.cast(cuts, "int32"), axis=1)
    held = ops.equal(part[:, :, None], ops.arange(most, dtype="int32")[None, None])  # (b, n, most)
    held = ops.logical_and(held, (places < size)[:, :, None])
    return ops.sum(ops.cast(held, "int32"), axis=1)


def _in_order(ids, kept):
    """The kept ids of each row side by side, then padding."""
    n = ops.shape(ids)[1]
    places = ops.arange(n, dtype="int32")[None]
    order = ops.argsort(ops.where(kept, places, places + n), axis=1)
    count = ops.sum(ops.cast(kept, "int32"), axis=1, keepdims=True)
    return ops.where(places < count, ops.take_along_axis(ids, order, axis=1), 0)


def _target(ids, noise, begins, mask_id, end_id):
    """For each span the mask, then its tokens; then the end: `(batch, 2 · tokens)`."""
    rows, n = ops.shape(ids)
    pairs = ops.stack([ops.full_like(ids, mask_id), ids], axis=2)  # each token with a mask before it
    kept = ops.reshape(ops.stack([begins, noise], axis=2), (rows, 2 * n))
    listed = _in_order(ops.reshape(pairs, (rows, 2 * n)), kept)
    count = ops.sum(ops.cast(kept, "int32"), axis=1, keepdims=True)
    ended = ops.equal(ops.arange(2 * n, dtype="int32")[None], count)
    return ops.where(count > 0, ops.where(ended, end_id, listed), 0)
