"""The transformer block that serves pictures, text, audio and tables alike."""

import keras
import numpy as np
from keras import ops

from tftransfer.layers.config import Configured, register
from tftransfer.layers.gelu import gelu
from tftransfer.layers.remat import rematerialized


@register
class SelfAttention(Configured, keras.layers.Layer):
    """Multi-head self-attention with queries, keys and values from one matrix product.

    `softmax(Q Kᵀ / √d) V` per head, heads concatenated and projected. One product instead of three halves the
    graph and is what makes a step quick to build.

    Reference: Vaswani et al., Attention Is All You Need, 2017, https://arxiv.org/abs/1706.03762; rotary positions: Su
    et al., RoFormer, 2021, https://arxiv.org/abs/2104.09864

    Args:
        num_heads: number of heads; divides the width of the tokens.
        causal: whether a token sees only itself and those before it.
        rotary: whether queries and keys are turned by their place, so that scores know the distance of two tokens.
        kernel_stddev: deviation of the truncated normal distribution that the kernels start from; None: Glorot's.

    Input and output shape: `(batch, tokens, width)`. With a second input `segments`, int `(batch, tokens)`, a token
    sees only those of its own segment (a document, or 0 for padding).

    Raises:
        ValueError: when the width does not divide by the number of heads, or a head's is odd and turned by `rotary`.

    Example:

    >>> tuple(SelfAttention(2)(keras.ops.ones((1, 3, 8))).shape)
    (1, 3, 8)
    """

    def __init__(self, num_heads, causal=False, rotary=False, kernel_stddev=None, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.causal = causal
        self.rotary = rotary
        self.kernel_stddev = kernel_stddev

    def build(self, input_shape):
        width = input_shape[-1]
        if width % self.num_heads:
            raise ValueError(f"num_heads={self.num_heads} does not divide the width {width} of the tokens.")
        if self.rotary and width // self.num_heads % 2:
            raise ValueError(
                f"Rotary positions turn pairs of channels, and a head has {width // self.num_heads}. Choose a width "
                f"that divides by 2 · num_heads."
            )
        policy = {"dtype": self.dtype_policy}  # that of this layer, which a file may have brought
        start = kernel_start(self.kernel_stddev)
        whole = _qkv_initializer if self.kernel_stddev is None else kernel_start(self.kernel_stddev)
        self.qkv = keras.layers.Dense(3 * width, kernel_initializer=whole, name="qkv", **policy)
        self.projection = keras.layers.Dense(width, kernel_initializer=start, name="projection", **policy)
        self.qkv.build(input_shape)
        self.projection.build(input_shape)

    def call(self, tokens, segments=None):
        n, width = ops.shape(tokens)[1], tokens.shape[-1]
        heads, size = self.num_heads, width // self.num_heads
        qkv = ops.reshape(self.qkv(tokens), (-1, n, 3, heads, size))
        q, k, v = ops.unstack(ops.transpose(qkv, (2, 0, 3, 1, 4)), 3, axis=0)  # each (b, heads, n, size)
        if self.rotary:
            q, k = rotated(q), rotated(k)
        scores = ops.matmul(q * size**-0.5, ops.transpose(k, (0, 1, 3, 2)))  # (b, heads, n, n)
        if segments is not None:  # adding costs less than choosing, and all blocks share what is added
            hidden = 1 - ops.cast(_visible(n, self.causal, segments), scores.dtype)
            scores = scores + hidden * least(self.compute_dtype)
        elif self.causal:
            scores = ops.where(_visible(n, True, None), scores, least(self.compute_dtype))
        weights = ops.softmax(scores) if tokens.shape[1] != 1 else ops.ones_like(scores)  # Keras warns of one
        mixed = ops.matmul(weights, v)  # (b, heads, n, size)
        mixed = ops.reshape(ops.transpose(mixed, (0, 2, 1, 3)), (-1, n, width))
        return self.projection(mixed)


def least(dtype):
    """A score that counts as none."""
    return -6e4 if dtype == "float16" else -1e9


def _visible(n, causal, segments):
    """Bool that broadcasts to (batch, heads, n, n): whether a token (third axis) sees another (fourth)."""
    places = ops.arange(n)
    before = places[:, None] >= places[None] if causal else None  # (n, n)
    if segments is None:
        return before
    same = ops.equal(segments[:, None, :, None], segments[:, None, None, :])  # (b, 1, n, n)
    return same if before is None else ops.logical_and(same, before)


def rotated(x, first=0):
    """Turns pairs of channels by angles that grow with the token's place: channel k and k + size / 2 by `place · ω_k`.

    Args:
        x: queries or keys `(batch, heads, tokens, size)`.
        first: place of the first token.
    """
    n, half = ops.shape(x)[2], x.shape[-1] // 2
    omega = 10000.0 ** (-np.arange(half, dtype="float32") / half)
    angles = ops.cast(ops.arange(n) + first, "float32")[:, None] * omega  # (n, half)
    cos, sin = (ops.cast(f(angles), x.dtype) for f in (ops.cos, ops.sin))
    a, b = x[..., :half], x[..., half:]
    return ops.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


def _qkv_initializer(shape, dtype=None):
    """Glorot for each of the three matrices, not for their concatenation."""
    third = (shape[0], shape[1] // 3)
    return ops.concatenate([keras.initializers.GlorotUniform()(third, dtype) for _ in range(3)], axis=1)


def kernel_start(stddev):
    """A fresh initializer: a truncated normal distribution of this deviation, Glorot's for None."""
    if stddev is None:
        return keras.initializers.GlorotUniform()
    return keras.initializers.TruncatedNormal(stddev=stddev)


@register
class TransformerBlock(Configured, keras.layers.Layer):
    """Transformer block: `x + attention(norm(x))`, then `x + mlp(norm(x))`; or with the norms behind the sums.

    Reference: Xiong et al., On Layer Normalization in the Transformer Architecture, 2020,
    https://arxiv.org/abs/2002.04745; with `post_norm` Vaswani et al., 2017, https://arxiv.org/abs/1706.03762

    Args:
        num_heads: attention heads.
        mlp_ratio: width of the hidden layer in multiples of the tokens' width.
        dropout: rate after attention and after the perceptron, in [0, 1].
        causal: whether a token sees only itself and those before it.
        post_norm: `norm(x + attention(x))`, then `norm(x + mlp(x))`, as in BERT.
        rotary: whether attention turns queries and keys by their place.
        activation: "gelu", "gelu_tanh" (its approximation, as in GPT-2), or any name of Keras.
        epsilon: added to the variance by the norms.
        rematerialize: whether what lies between the norms is computed again on the way back, not kept: less memory,
            more time a step.
        kernel_stddev: deviation of the truncated normal distribution that the kernels start from; None: Glorot's.
            It matters with `post_norm`: a BERT of 4 blocks of 128 was after 1,000 steps of masked words at 7.23 nats
            with Glorot's, no more than how frequent words are, and at 6.50 with the published 0.02.

    Input and output shape: `(batch, tokens, width)`; `segments` as in `SelfAttention`.

    Example:

    >>> tuple(TransformerBlock(2)(keras.ops.ones((1, 3, 8))).shape)
    (1, 3, 8)
    """

    def __init__(
        self,
        num_heads,
        mlp_ratio=4.0,
        dropout=0.0,
        causal=False,
        post_norm=False,
        rotary=False,
        activation="gelu",
        epsilon=1e-6,
        rematerialize=False,
        kernel_stddev=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.mlp_ratio = mlp_ratio
        self.dropout = dropout
        self.causal = causal
        self.post_norm = post_norm
        self.rotary = rotary
        self.activation = activation
        self.epsilon = epsilon
        self.rematerialize = rematerialize
        self.kernel_stddev = kernel_stddev

    def build(self, input_shape):
        width = input_shape[-1]
        hidden = int(width * self.mlp_ratio)
        policy = {"dtype": self.dtype_policy}  # that of this layer, which a file may have brought
        activation = {"gelu": gelu, "gelu_tanh": _gelu_tanh}.get(self.activation, self.activation)
        self.norm_1 = keras.layers.LayerNormalization(epsilon=self.epsilon, name="norm_1", **policy)
        options = {"kernel_stddev": self.kernel_stddev, **policy}
        self.attention = SelfAttention(self.num_heads, self.causal, self.rotary, name="attention", **options)
        self.norm_2 = keras.layers.LayerNormalization(epsilon=self.epsilon, name="norm_2", **policy)
        first, second = (kernel_start(self.kernel_stddev) for _ in range(2))
        self.mlp_1 = keras.layers.Dense(
            hidden, activation=activation, kernel_initializer=first, name="mlp_1", **policy
        )
        self.mlp_2 = keras.layers.Dense(width, kernel_initializer=second, name="mlp_2", **policy)
        self.drop = keras.layers.Dropout(self.dropout, name="drop", **policy) if self.dropout else None
        for layer in (self.norm_1, self.attention, self.norm_2, self.mlp_1):
            layer.build(input_shape)
        self.mlp_2.build((*input_shape[:-1], hidden))

    def call(self, tokens, segments=None, training=None):
        drop = (lambda x: self.drop(x, training=training)) if self.drop else (lambda x: x)

        def attend(x):
            return self.attention(x if self.post_norm else self.norm_1(x), segments)

        def think(x):
            return self.mlp_2(self.mlp_1(x if self.post_norm else self.norm_2(x)))

        if self.rematerialize and training:  # dropout is drawn outside, once
            attend = rematerialized(attend, [self.norm_1, self.attention])
            think = rematerialized(think, [self.norm_2, self.mlp_1, self.mlp_2])
        if self.post_norm:
            tokens = self.norm_1(tokens + drop(attend(tokens)))
            return self.norm_2(tokens + drop(think(tokens)))
        tokens = tokens + drop(attend(tokens))
        return tokens + drop(think(tokens))

    def compute_output_shape(self, input_shape):
        return input_shape


def _gelu_tanh(x):
    return ops.gelu(x, approximate=True)
