"""Texts written token by token: what is chosen of a distribution, one text a row, and beams of several."""

import keras
from keras import ops

__all__ = ["beam_search", "choose_tokens", "kept_writer", "write_tokens"]


def choose_tokens(logits, draws, *, temperature=1.0, top_k=None, top_p=None):
    """One token of each row's distribution.

    With `temperature=0` the likeliest. Else `softmax(logits / temperature)`, cut to the `top_k` likeliest and to the
    fewest that hold a share of `top_p` together, decided by a number that was drawn for the row.

    Reference: top-k: Fan et al., Hierarchical Neural Story Generation, 2018, https://arxiv.org/abs/1805.04833; top-p:
    Holtzman et al., The Curious Case of Neural Text Degeneration, 2019, https://arxiv.org/abs/1904.09751

    Args:
        logits: `(batch, vocabulary)`.
        draws: `(batch,)` in [0, 1).
        temperature: 0 or more.
        top_k: how many tokens stay; None for all.
        top_p: share in (0, 1] that stays; None for all.

    Returns:
        int32 `(batch,)`.

    Example:

    >>> logits = ops.log(ops.convert_to_tensor([[0.5, 0.3, 0.2]]))
    >>> [int(choose_tokens(logits, ops.full((1,), 0.9), **cut)[0]) for cut in ({}, {"top_k": 2}, {"top_p": 0.4})]
    [2, 1, 0]
    """
    logits = ops.cast(logits, "float32")
    if temperature == 0:
        return ops.cast(ops.argmax(logits, axis=-1), "int32")
    logits, order = logits / temperature, None
    if top_k is not None or top_p is not None:
        logits, order = ops.top_k(logits, min(top_k or logits.shape[-1], logits.shape[-1]))
    shares = ops.softmax(logits, axis=-1)
    reached = ops.cumsum(shares, axis=-1)
    total = reached[:, -1:]
    if top_p is not None:
        stays = reached - shares < top_p * total  # always the first
        total = ops.sum(ops.where(stays, shares, 0.0), axis=-1, keepdims=True)
    chosen = ops.sum(ops.cast(reached <= draws[:, None] * total, "int32"), axis=-1)
    chosen = ops.minimum(chosen, logits.shape[-1] - 1)
    return (
        chosen
        if order is None
        else ops.take_along_axis(ops.cast(order, "int32"), chosen[:, None], axis=1)[:, 0]
    )


def write_tokens(step, cache, ids, lengths, choose, *, start=1, ends=None, end_id=None):
    """Goes on with the texts of a batch until each has ended or its row is full.

    Args:
        step: function of tokens `(batch, 1)`, their place and a cache, to logits `(batch, vocabulary)` and a cache.
        cache: what the tokens before place `start - 1` left.
        ids: int32 `(batch, length)`, the texts as they begin, then zeros.
        lengths: `(batch,)`, how long each of them is.
        choose: function of logits and a place, to tokens `(batch,)`.
        start: the first place to be written, the same for all: at most the shortest length.
        ends: `(batch,)`, how long each text may become; None fills the rows.
        end_id: the token that ends a text; zeros follow it.

    Returns:
        The ids.

    Example:

    >>> count = lambda tokens, place, cache: (ops.one_hot(tokens[:, 0] + 1, 9), cache)
    >>> ids = ops.convert_to_tensor([[3, 0, 0, 0, 0]], "int32")
    >>> likeliest = lambda logits, place: ops.cast(ops.argmax(logits, axis=-1), "int32")
    >>> written = write_tokens(count, (), ids, ops.ones((1,), "int32"), likeliest, end_id=6)
    >>> ops.convert_to_numpy(written).tolist()
    [[3, 4, 5, 6, 0]]
    """
    batch, length = ops.shape(ids)
    lengths = ops.cast(lengths, "int32")
    ends = ops.full_like(lengths, length) if ends is None else ops.cast(ends, "int32")

    def goes_on(place, ids, done, cache):
        return ops.logical_and(place < length, ops.logical_not(ops.all(done)))

    def write(place, ids, done, cache):
        before = ops.slice(ids, (0, place - 1), (batch, 1))
        logits, cache = step(before, place - 1, cache)
        logits = _without_padding(logits)
        given = place < lengths
        written = ops.where(done, 0, choose(logits, place))
        token = ops.where(given, ops.slice(ids, (0, place), (batch, 1))[:, 0], written)
        if end_id is not None:
            ended = ops.logical_and(ops.logical_not(given), ops.equal(token, end_id))
            done = ops.logical_or(done, ended)
        done = ops.logical_or(done, place + 1 >= ends)
        return place + 1, ops.slice_update(ids, (0, place), token[:, None]), done, cache

    state = ops.convert_to_tensor(start, "int32"), ids, ops.zeros((batch,), "bool"), cache
    return ops.while_loop(goes_on, write, state)[1]


def beam_search(step, cache, first, *, beams, length, end_id, length_penalty=1.0):
    """The likeliest texts that a search of some width finds, each scored by `Σ log p / tokens^length_penalty`.

    In every step each beam is gone on with by every token, and the best ones of all stay; a text that has ended keeps
    its place and its score.

    Reference: Sutskever et al., Sequence to Sequence Learning with Neural Networks, 2014,
    https://arxiv.org/abs/1409.3215; the penalty: Wu et al., Google's Neural Machine Translation System, 2016,
    https://arxiv.org/abs/1609.08144
    Differs from them in: the penalty is a power of the length alone.

    Args:
        step: as in `write_tokens`, of rows `batch · beams`.
        cache: a nest of tensors with `batch · beams` rows.
        first: int32 `(batch,)`, the token that begins each text; it is no part of the result.
        beams: texts that are kept of each row.
        length: tokens of a result at most.
        end_id: the token that ends a text; zeros follow it.
        length_penalty: 0 prefers short texts, 1 takes the mean.

    Returns:
        `(ids (batch, length), scores (batch,))`, the best of each row.

    Example:

    >>> logits = ops.log(ops.convert_to_tensor([0.05, 0.05, 0.6, 0.3]))
    >>> step = lambda tokens, place, cache: (ops.broadcast_to(logits, (2, 4)), cache)
    >>> ids, scores = beam_search(step, (), ops.ones((1,), "int32"), beams=2, length=3, end_id=3, length_penalty=0.0)
    >>> ops.convert_to_numpy(ids).tolist()  # 0.3 at once, rather than 0.6 · 0.6 · 0.6
    [[3, 0, 0]]
    """
    batch = ops.shape(first)[0]
    rows = ops.arange(batch, dtype="int32")[:, None] * beams  # (b, 1): where each row's beams begin
    low = -1e9

    def goes_on(place, tokens, ids, scores, done, cache):
        return ops.logical_and(place < length, ops.logical_not(ops.all(done)))

    def widen(place, tokens, ids, scores, done, cache):
        logits, cache = step(tokens, place, cache)
        logits = _without_padding(logits)
        vocabulary = logits.shape[-1]
        nats = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
        nats = ops.reshape(nats, (batch, beams, vocabulary))
        rest = low * (
            1 - ops.one_hot(0, vocabulary, dtype="float32")
        )  # what has ended goes on with padding alone
        nats = ops.where(done[..., None], rest, nats)
        total = ops.reshape(scores[..., None] + nats, (batch, beams * vocabulary))
        scores, best = ops.top_k(total, beams)  # (b, beams)
        best = ops.cast(best, "int32")
        parent, token = best // vocabulary, best % vocabulary
        ids, done = (ops.take_along_axis(x, parent[..., None], axis=1) for x in (ids, done[..., None]))
        done = ops.logical_or(done[..., 0], ops.equal(token, end_id))
        ids = ops.slice_update(ids, (0, 0, place), token[..., None])
        flat = ops.reshape(rows + parent, (-1,))
        cache = keras.tree.map_structure(lambda x: ops.take(x, flat, axis=0), cache)
        return place + 1, ops.reshape(token, (-1, 1)), ids, scores, done, cache

    state = (
        ops.convert_to_tensor(0, "int32"),
        ops.repeat(ops.cast(first, "int32"), beams)[:, None],
        ops.zeros((batch, beams, length), "int32"),
        ops.broadcast_to(ops.convert_to_tensor([[0.0] + [low] * (beams - 1)]), (batch, beams)),
        ops.zeros((batch, beams), "bool"),
        cache,
    )
    _, _, ids, scores, _, _ = ops.while_loop(goes_on, widen, state)
    counts = ops.sum(ops.cast(ops.not_equal(ids, 0), "float32"), axis=-1)
    scores = scores / ops.maximum(counts, 1.0) ** length_penalty
    best = ops.argmax(scores, axis=1)[:, None]
    return ops.take_along_axis(ids, best[..., None], axis=1)[:, 0], ops.take_along_axis(scores, best, axis=1)[
        :, 0
    ]


def _without_padding(logits):
    """Padding (0) is never written: what follows would be read as if it stood alone."""
    return ops.cast(logits, "float32") - 1e9 * ops.one_hot(0, logits.shape[-1], dtype="float32")


def kept_writer(writers, task, settings, make):
    """The compiled writer of a task for some settings, made anew where weights were added or exchanged.

    Args:
        writers: dict in which the task keeps them.
        task: the model that is written by.
        settings: tuple that tells writers of one task apart.
        make: function of the task and the settings.

    Example:

    >>> task, writers = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]), {}
    >>> make = lambda task, length: object()
    >>> kept_writer(writers, task, (8,), make) is kept_writer(writers, task, (8,), make)
    True
    """
    key = settings, tuple(id(v) for v in task.weights)
    if key not in writers:
        if any(known[1] != key[1] for known in writers):
            writers.clear()
        writers[key] = make(task, *settings)
    return writers[key]
