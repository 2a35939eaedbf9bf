"""Which tokens of a text are hidden, and what stands in their place: drawn anew in every step, inside the graph."""

import keras
from keras import ops

from tftransfer import placement

__all__ = ["at_places", "hide_tokens", "maskable"]


def maskable(ids, special_ids):
    """Bool `(batch, tokens)`: which tokens may be hidden, all but padding (0) and the special ones.

    Args:
        ids: int `(batch, tokens)`.
        special_ids: ids that are never hidden; padding is one of them anyway.

    Example:

    >>> ops.convert_to_numpy(maskable(ops.convert_to_tensor([[2, 9, 3, 0]]), (0, 1, 2, 3, 4))).tolist()
    [[False, True, False, False]]
    """
    free = ops.not_equal(ids, 0)
    for special in special_ids:
        free = ops.logical_and(free, ops.not_equal(ids, special))
    return free


def at_places(features, places):
    """The features at some places of each row: `(batch, K, width)`.

    A product with rows of 0 and 1, which on every device is quicker, backwards above all, than gathering.

    Args:
        features: `(batch, tokens, width)`.
        places: int `(batch, K)`.

    Example:

    >>> features = ops.reshape(ops.arange(6, dtype="float32"), (1, 3, 2))
    >>> ops.convert_to_numpy(at_places(features, ops.convert_to_tensor([[2, 0]]))).tolist()
    [[[4.0, 5.0], [0.0, 1.0]]]
    """
    chosen = ops.one_hot(places, ops.shape(features)[1], dtype=features.dtype)  # (b, K, n)
    return ops.matmul(chosen, features)


def hide_tokens(
    ids, *, ratio, special_ids, mask_id, vocabulary_size, seed, continues_word=None, kept=0.1, random=0.1
):
    """Hides a share of each row's tokens, as BERT does, at a number of places that is the same for every row.

    Of a row's n free tokens `max(1, round(ratio · n))` are chosen at random; of these 80% become the mask, 10% a random
    token, 10% stay (`kept`, `random`). The places come as a tensor of fixed width, so that all that follows, the
    product with the vocabulary above all, is computed only there and compiles by XLA.

    Whole words: with `continues_word` the places are filled word by word, in random order; a last word that would pass
    the number is left out, so that no word is hidden in part (unless one word alone is longer than the number).

    Reference: Devlin et al., BERT, 2018, https://arxiv.org/abs/1810.04805; drawn anew each time: Liu et al., RoBERTa,
    2019, https://arxiv.org/abs/1907.11692

    Args:
        ids: int `(batch, tokens)`, 0 = padding.
        ratio: share of the free tokens that is hidden, in (0, 1).
        special_ids: ids that are neither hidden nor put in the place of others.
        mask_id: id of the mask.
        vocabulary_size: number of ids.
        seed: a `keras.random.SeedGenerator` kept by the objective.
        continues_word: bool `(vocabulary,)`, whether an id goes on with the word before it; None to hide single tokens.
        kept, random: shares of the hidden places that keep their token, and that get a random one.

    Returns:
        `(corrupted, places, mask)`: ids `(batch, tokens)`, places `(batch, K)` int, and `(batch, K)` float32, 1 where a
        place is one of the hidden ones of its row.

    Example:

    >>> ids = ops.convert_to_tensor([[2, 10, 11, 12, 13, 3, 0, 0]])
    >>> options = {"special_ids": (0, 1, 2, 3, 4), "mask_id": 4, "vocabulary_size": 20}
    >>> _, places, mask = hide_tokens(ids, ratio=0.5, seed=keras.random.SeedGenerator(0), **options)
    >>> tuple(places.shape), int(ops.sum(mask))  # half of the 4 free tokens
    ((1, 4), 2)
    """
    ids = ops.cast(ids, "int32")
    rows, n = ops.shape(ids)[0], ids.shape[1] or ops.shape(ids)[1]
    draws = placement.per_example(
        lambda many: keras.random.uniform((many, 3, n), dtype="float32", seed=seed), rows
    )
    free = maskable(ids, special_ids)
    budget = _budget(free, ratio)  # (b, 1)
    scores = draws[:, 0] if continues_word is None else _of_words(ids, free, draws[:, 0], continues_word)
    order = ops.argsort(ops.where(free, scores, 2.0), axis=-1)  # (b, n): places, those to be hidden first
    order = ops.cast(order, "int32")
    chosen = ops.arange(n, dtype="int32")[None] < budget  # (b, n), by rank
    if continues_word is not None:
        chosen = ops.logical_and(chosen, _whole(ops.take_along_axis(scores, order, axis=1), chosen))
    hidden = ops.take_along_axis(chosen, ops.cast(ops.argsort(order, axis=-1), "int32"), axis=1)  # by place
    substitute = _random_ids(draws[:, 2], special_ids, vocabulary_size)
    instead = ops.where(draws[:, 1] < 1 - kept - random, mask_id, substitute)
    instead = ops.where(draws[:, 1] < 1 - kept, instead, ids)
    width = share_of(n, ratio)
    return ops.where(hidden, instead, ids), order[:, :width], ops.cast(chosen[:, :width], "float32")


def _budget(free, ratio):
    count = ops.sum(ops.cast(free, "float32"), axis=1, keepdims=True)
    wanted = ops.maximum(ops.floor(ratio * count + 0.5), 1.0)
    return ops.cast(ops.minimum(wanted, count), "int32")


def share_of(n, ratio):
    """`max(1, round(ratio · n))`, of an int or of a scalar tensor, where rows have a length known only in the step."""
    if isinstance(n, int):
        return max(1, round(ratio * n))
    return ops.cast(ops.maximum(ops.round(ratio * ops.cast(n, "float32")), 1.0), "int32")


def _of_words(ids, free, draws, continues_word):
    """One draw for all tokens of a word."""
    table = ops.cast(ops.convert_to_tensor(continues_word), "bool")
    before = ops.concatenate([ops.zeros_like(free[:, :1]), free[:, :-1]], axis=1)
    begins = ops.logical_not(ops.logical_and(ops.take(table, ids, axis=0), before))
    word = ops.cumsum(ops.cast(begins, "int32"), axis=1) - 1  # (b, n): the first token begins the first word
    return ops.take_along_axis(draws, word, axis=1)


def _whole(scores, chosen):
    """By rank: whether a token belongs to a word that lies within the budget as a whole; the first word always does."""
    n = scores.shape[1] or ops.shape(scores)[1]
    differs = ops.not_equal(scores[:, 1:], scores[:, :-1])
    ends = ops.concatenate([differs, ops.ones_like(differs[:, :1])], axis=1)  # of a word, by rank
    ranks = ops.arange(n, dtype="int32")[None]
    last = ops.max(ops.where(ops.logical_and(ends, chosen), ranks, -1), axis=1, keepdims=True)
    return ops.logical_or(ranks <= last, last < 0)


def _random_ids(draws, special_ids, vocabulary_size):
    """Uniform over the ids that are not special."""
    ordinary = [i for i in range(vocabulary_size) if i not in set(special_ids) | {0}]
    if ordinary == list(range(ordinary[0], vocabulary_size)):  # the special ones come first, as usual
        number = ops.cast(draws * len(ordinary), "int32")
        return ordinary[0] + ops.minimum(number, len(ordinary) - 1)
    table = ops.convert_to_tensor(ordinary, dtype="int32")
    return ops.take(table, ops.minimum(ops.cast(draws * len(ordinary), "int32"), len(ordinary) - 1), axis=0)
