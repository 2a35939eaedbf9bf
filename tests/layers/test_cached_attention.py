"""Attention in pieces, with what was read kept: the same as all at once."""

import keras
import numpy as np
import pytest
from keras import ops

from tftransfer.layers import SelfAttention, TransformerBlock
from tftransfer.layers.cached_attention import attention_step, block_step, empty_cache, heads_of

X = np.random.default_rng(0).normal(size=(2, 7, 8)).astype("float32")


def in_pieces(step, layer, attention, cuts):
    cache, first, found = empty_cache(attention, 2, 7), 0, []
    for count in cuts:
        mixed, cache = step(layer, X[:, first : first + count], cache, first)
        found.append(ops.convert_to_numpy(mixed))
        first += count
    return np.concatenate(found, axis=1)


def test_heads_are_slices_of_the_width():
    heads = ops.convert_to_numpy(heads_of(X, 4))
    for head in range(4):
        np.testing.assert_array_equal(heads[:, head], X[:, :, 2 * head : 2 * head + 2])


@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("cuts", [(1,) * 7, (3, 4), (7,)], ids=str)
def test_attention(rotary, cuts):
    keras.utils.set_random_seed(0)
    attention = SelfAttention(2, causal=True, rotary=rotary)
    attention.build((None, None, 8))
    np.testing.assert_allclose(in_pieces(attention_step, attention, attention, cuts), attention(X), atol=1e-5)


@pytest.mark.parametrize("post_norm", [False, True])
def test_block(post_norm):
    keras.utils.set_random_seed(0)
    block = TransformerBlock(2, causal=True, post_norm=post_norm)
    block.build((None, None, 8))
    np.testing.assert_allclose(in_pieces(block_step, block, block.attention, (2, 5)), block(X), atol=1e-5)


def test_what_lies_behind_in_the_cache_does_not_count():
    attention = SelfAttention(2, causal=True)
    attention.build((None, None, 8))
    keys, values = empty_cache(attention, 2, 7)
    clean, _ = attention_step(attention, X[:, :2], (keys, values), 0)
    other, _ = attention_step(attention, X[:, :2], (keys + 5.0, values - 3.0), 0)
    np.testing.assert_allclose(ops.convert_to_numpy(other), ops.convert_to_numpy(clean), atol=1e-6)
