"""The transformer block that serves pictures, text, audio and tables alike."""

import keras
from keras import ops

from tftransfer.layers.config import Configured, register


@register
class SelfAttention(Configured, keras.layers.Layer):
    """Multi-head self-attention with queries, keys and values from one matrix product.

    `softmax(Q Kᵀ / √d) V` per head, heads concatenated and projected. One product instead of three halves the
    graph and is what makes a step quick to build.

    Reference: Vaswani et al., Attention Is All You Need, 2017, https://arxiv.org/abs/1706.03762

    Args:
        num_heads: number of heads; divides the width of the tokens.
        causal: whether a token sees only itself and those before it.

    Input and output shape: `(batch, tokens, width)`.

    Raises:
        ValueError: when the width does not divide by the number of heads.

    Example:

    >>> tuple(SelfAttention(2)(keras.ops.ones((1, 3, 8))).shape)
    (1, 3, 8)
    """

    def __init__(self, num_heads, causal=False, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.causal = causal

    def build(self, input_shape):
        width = input_shape[-1]
        if width % self.num_heads:
            raise ValueError(f"num_heads={self.num_heads} does not divide the width {width} of the tokens.")
        policy = {"dtype": self.dtype_policy}  # that of this layer, which a file may have brought
        self.qkv = keras.layers.Dense(3 * width, kernel_initializer=_qkv_initializer, name="qkv", **policy)
        self.projection = keras.layers.Dense(width, name="projection", **policy)
        self.qkv.build(input_shape)
        self.projection.build(input_shape)

    def call(self, tokens):
        n, width = ops.shape(tokens)[1], tokens.shape[-1]
        heads, size = self.num_heads, width // self.num_heads
        qkv = ops.reshape(self.qkv(tokens), (-1, n, 3, heads, size))
        q, k, v = ops.unstack(ops.transpose(qkv, (2, 0, 3, 1, 4)), 3, axis=0)  # each (b, heads, n, size)
        scores = ops.matmul(q * size**-0.5, ops.transpose(k, (0, 1, 3, 2)))  # (b, heads, n, n)
        if self.causal:
            places = ops.arange(n)
            least = -6e4 if self.compute_dtype == "float16" else -1e9
            scores = ops.where(places[:, None] >= places[None], scores, least)
        weights = ops.softmax(scores) if tokens.shape[1] != 1 else ops.ones_like(scores)  # Keras warns of one
        mixed = ops.matmul(weights, v)  # (b, heads, n, size)
        mixed = ops.reshape(ops.transpose(mixed, (0, 2, 1, 3)), (-1, n, width))
        return self.projection(mixed)


def _qkv_initializer(shape, dtype=None):
    """Glorot for each of the three matrices, not for their concatenation."""
    third = (shape[0], shape[1] // 3)
    return ops.concatenate([keras.initializers.GlorotUniform()(third, dtype) for _ in range(3)], axis=1)


@register
class TransformerBlock(Configured, keras.layers.Layer):
    """Pre-norm transformer block: `x + attention(norm(x))`, then `x + mlp(norm(x))`.

    Reference: Xiong et al., On Layer Normalization in the Transformer Architecture, 2020,
    https://arxiv.org/abs/2002.04745

    Args:
        num_heads: attention heads.
        mlp_ratio: width of the hidden layer in multiples of the tokens' width.
        dropout: rate after attention and after the perceptron, in [0, 1].
        causal: whether a token sees only itself and those before it.

    Input and output shape: `(batch, tokens, width)`.

    Example:

    >>> tuple(TransformerBlock(2)(keras.ops.ones((1, 3, 8))).shape)
    (1, 3, 8)
    """

    def __init__(self, num_heads, mlp_ratio=4.0, dropout=0.0, causal=False, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.mlp_ratio = mlp_ratio
        self.dropout = dropout
        self.causal = causal

    def build(self, input_shape):
        width = input_shape[-1]
        hidden = int(width * self.mlp_ratio)
        policy = {"dtype": self.dtype_policy}  # that of this layer, which a file may have brought
        self.norm_1 = keras.layers.LayerNormalization(epsilon=1e-6, name="norm_1", **policy)
        self.attention = SelfAttention(self.num_heads, self.causal, name="attention", **policy)
        self.norm_2 = keras.layers.LayerNormalization(epsilon=1e-6, name="norm_2", **policy)
        self.mlp_1 = keras.layers.Dense(hidden, activation="gelu", name="mlp_1", **policy)
        self.mlp_2 = keras.layers.Dense(width, name="mlp_2", **policy)
        self.drop = keras.layers.Dropout(self.dropout, name="drop", **policy) if self.dropout else None
        for layer in (self.norm_1, self.attention, self.norm_2, self.mlp_1):
            layer.build(input_shape)
        self.mlp_2.build((*input_shape[:-1], hidden))

    def call(self, tokens, training=None):
        drop = (lambda x: self.drop(x, training=training)) if self.drop else (lambda x: x)
        tokens = tokens + drop(self.attention(self.norm_1(tokens)))
        return tokens + drop(self.mlp_2(self.mlp_1(self.norm_2(tokens))))

    def compute_output_shape(self, input_shape):
        return input_shape
