import math

import keras
import numpy as np
import pytest

from tftransfer.layers import SelfAttention, TransformerBlock

erf = np.vectorize(math.erf)


def tokens(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def filled(layer, shape):
    """The layer with random values in every variable, biases and scales included."""
    layer.build(shape)
    draw = np.random.default_rng(1)
    for v in layer.weights:
        v.assign(draw.normal(size=v.shape) * 0.3)
    return layer


def attention(layer, x):
    """The paper's formula, head by head, token by token, in float64."""
    b, n, width = x.shape
    size = width // layer.num_heads
    kernel, bias = (np.asarray(v, "float64") for v in (layer.qkv.kernel, layer.qkv.bias))
    q, k, v = np.split(x.astype("float64") @ kernel + bias, 3, axis=-1)
    out = np.zeros((b, n, width))
    for example in range(b):
        for head in range(layer.num_heads):
            part = slice(head * size, (head + 1) * size)
            for i in range(n):
                seen = i + 1 if layer.causal else n
                scores = k[example, :seen, part] @ q[example, i, part] / math.sqrt(size)
                weights = np.exp(scores - scores.max())
                out[example, i, part] = weights / weights.sum() @ v[example, :seen, part]
    return out @ np.asarray(layer.projection.kernel, "float64") + np.asarray(layer.projection.bias, "float64")


def norm(layer, x):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * np.asarray(layer.gamma) + np.asarray(
        layer.beta
    )


@pytest.mark.compute
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("num_heads", [1, 2, 4])
def test_attention_per_head(num_heads, causal):
    layer, x = filled(SelfAttention(num_heads, causal), (None, 5, 8)), tokens(2, 5, 8)
    np.testing.assert_allclose(np.asarray(layer(x)), attention(layer, x), atol=2e-5)


@pytest.mark.compute
def test_block_is_pre_norm_with_two_residuals():
    block, x = filled(TransformerBlock(2, mlp_ratio=3.0), (None, 5, 8)), tokens(2, 5, 8).astype("float64")
    assert block.mlp_1.units == 24
    hidden = x + attention(block.attention, norm(block.norm_1, x))
    inner = norm(block.norm_2, hidden) @ np.asarray(block.mlp_1.kernel) + np.asarray(block.mlp_1.bias)
    inner = inner * 0.5 * (1 + erf(inner / math.sqrt(2)))  # gelu, exact
    expected = hidden + inner @ np.asarray(block.mlp_2.kernel) + np.asarray(block.mlp_2.bias)
    np.testing.assert_allclose(np.asarray(block(x.astype("float32"))), expected, atol=1e-4)


@pytest.mark.compute
def test_causal_tokens_do_not_see_what_follows():
    block, x = filled(TransformerBlock(2, causal=True), (None, 6, 8)), tokens(1, 6, 8)
    other = np.concatenate([x[:, :4], tokens(1, 2, 8, seed=5)], axis=1)
    a, b = np.asarray(block(x)), np.asarray(block(other))
    np.testing.assert_allclose(a[:, :4], b[:, :4], atol=1e-6)
    assert np.abs(a[:, 4:] - b[:, 4:]).max() > 1e-2


@pytest.mark.compute
def test_without_a_mask_the_order_of_tokens_does_not_matter():
    block, x = filled(TransformerBlock(2), (None, 6, 8)), tokens(1, 6, 8)
    np.testing.assert_allclose(np.asarray(block(x[:, ::-1])), np.asarray(block(x))[:, ::-1], atol=1e-5)


def test_any_number_of_tokens():
    block = filled(TransformerBlock(2), (None, None, 8))
    assert block(tokens(1, 3, 8)).shape == (1, 3, 8) and block(tokens(2, 7, 8)).shape == (2, 7, 8)


@pytest.mark.compute
@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_causal_stays_finite_in_half_precision(dtype):
    block = TransformerBlock(2, causal=True, dtype=dtype)
    out = keras.ops.cast(block(tokens(2, 5, 8)), "float32")
    assert np.isfinite(np.asarray(out)).all()


def test_each_of_the_three_matrices_starts_as_glorot():
    layer = SelfAttention(2)
    layer.build((None, 3, 64))
    limit = math.sqrt(6 / (64 + 64))  # that of the whole kernel would be sqrt(6 / (64 + 192)), 0.7 of it
    parts = np.split(np.asarray(layer.qkv.kernel), 3, axis=1)
    for part in parts:
        assert 0.97 * limit < np.abs(part).max() <= limit
        assert abs(part.std() - limit / math.sqrt(3)) < 0.03 * limit
    assert np.abs(parts[0] - parts[1]).max() > 0.1 and np.abs(parts[1] - parts[2]).max() > 0.1


@pytest.mark.compute
def test_dropout_only_while_training():
    block, x = filled(TransformerBlock(2, dropout=0.5), (None, 5, 8)), tokens(2, 5, 8)
    plain = filled(TransformerBlock(2), (None, 5, 8))
    np.testing.assert_array_equal(np.asarray(block(x, training=False)), np.asarray(plain(x)))
    assert np.abs(np.asarray(block(x, training=True)) - np.asarray(plain(x))).max() > 0.1


def test_a_width_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="num_heads=3 does not divide the width 8"):
        SelfAttention(3).build((None, 5, 8))
