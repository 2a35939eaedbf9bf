"""Attention and transformer blocks token by token: keys and values of what was read are kept, not computed again."""

from keras import ops

from tftransfer.layers.transformer import least, rotated

__all__ = ["attention_step", "block_step", "empty_cache", "heads_of"]


def heads_of(x, heads):
    """`(batch, tokens, width)` to `(batch, heads, tokens, width / heads)`.

    Args:
        x: tokens.
        heads: number of heads.

    Example:

    >>> tuple(heads_of(ops.zeros((2, 5, 8)), 4).shape)
    (2, 4, 5, 2)
    """
    n, size = ops.shape(x)[1], x.shape[-1] // heads
    return ops.transpose(ops.reshape(x, (-1, n, heads, size)), (0, 2, 1, 3))


def empty_cache(attention, batch, length):
    """Room for the keys and values of `length` tokens: two tensors `(batch, heads, length, size)`.

    Args:
        attention: a built `SelfAttention`.
        batch: number of rows.
        length: tokens at most.

    Example:

    >>> from tftransfer.layers import SelfAttention
    >>> attention = SelfAttention(2)
    >>> attention.build((None, None, 8))
    >>> [tuple(part.shape) for part in empty_cache(attention, 3, 10)]
    [(3, 2, 10, 4), (3, 2, 10, 4)]
    """
    width = attention.projection.units
    shape = (batch, attention.num_heads, length, width // attention.num_heads)
    return ops.zeros(shape, attention.compute_dtype), ops.zeros(shape, attention.compute_dtype)


def attention_step(attention, tokens, cache, first):
    """What a causal `SelfAttention` gives for tokens that follow those in the cache.

    Args:
        attention: a built `SelfAttention`; each token sees itself and those before it.
        tokens: `(batch, m, width)`.
        cache: keys and values `(batch, heads, length, size)`, of which the first `first` are known.
        first: place of the first of these tokens, an int or a scalar tensor.

    Returns:
        `(mixed (batch, m, width), cache)` with the new keys and values in it.
    """
    keys, values = cache
    m, width, heads = ops.shape(tokens)[1], tokens.shape[-1], attention.num_heads
    qkv = ops.reshape(attention.qkv(tokens), (-1, m, 3, heads, width // heads))
    q, k, v = ops.unstack(ops.transpose(qkv, (2, 0, 3, 1, 4)), 3, axis=0)  # each (b, heads, m, size)
    if attention.rotary:
        q, k = rotated(q, first), rotated(k, first)
    keys = ops.slice_update(keys, (0, 0, first, 0), k)
    values = ops.slice_update(values, (0, 0, first, 0), v)
    scores = ops.matmul(
        q * (width // heads) ** -0.5, ops.transpose(keys, (0, 1, 3, 2))
    )  # (b, heads, m, length)
    places = ops.arange(ops.shape(keys)[2], dtype="int32")
    visible = places[None] <= ops.arange(m, dtype="int32")[:, None] + first
    weights = ops.softmax(ops.where(visible, scores, least(attention.compute_dtype)))
    mixed = ops.transpose(ops.matmul(weights, values), (0, 2, 1, 3))
    return attention.projection(ops.reshape(mixed, (-1, m, width))), (keys, values)


def block_step(block, tokens, cache, first):
    """What a causal `TransformerBlock` gives for tokens that follow those in the cache; see `attention_step`."""
    if block.post_norm:
        mixed, cache = attention_step(block.attention, tokens, cache, first)
        tokens = block.norm_1(tokens + mixed)
        return block.norm_2(tokens + block.mlp_2(block.mlp_1(tokens))), cache
    mixed, cache = attention_step(block.attention, block.norm_1(tokens), cache, first)
    tokens = tokens + mixed
    return tokens + block.mlp_2(block.mlp_1(block.norm_2(tokens))), cache
