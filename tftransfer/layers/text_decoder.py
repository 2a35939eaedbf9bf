"""The second half of an encoder-decoder: causal blocks that also look at what the encoder read."""

import keras
from keras import ops

from tftransfer.layers.cached_attention import attention_step, empty_cache, heads_of
from tftransfer.layers.config import Configured, register
from tftransfer.layers.transformer import SelfAttention, least

__all__ = ["CrossAttention", "TextDecoder"]


@register
class CrossAttention(Configured, keras.layers.Layer):
    """Multi-head attention from the tokens of one text to the features of another.

    Reference: Vaswani et al., Attention Is All You Need, 2017, https://arxiv.org/abs/1706.03762

    Args:
        num_heads: number of heads; divides the width of the tokens.

    Input: tokens `(batch, m, width)`, features `(batch, n, any width)`, and bool `(batch, n)`, False where a feature is
    padding. Output: `(batch, m, width)`.

    Example:

    >>> layer = CrossAttention(2)
    >>> layer.build((None, None, 8), (None, None, 6))
    >>> tuple(layer(ops.ones((1, 3, 8)), ops.ones((1, 5, 6)), ops.ones((1, 5), "bool")).shape)
    (1, 3, 8)
    """

    def __init__(self, num_heads, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def build(self, tokens_shape, features_shape=None, known_shape=None):
        width, policy = tokens_shape[-1], {"dtype": self.dtype_policy}
        self.query = keras.layers.Dense(width, name="query", **policy)
        self.key_value = keras.layers.Dense(2 * width, name="key_value", **policy)
        self.projection = keras.layers.Dense(width, name="projection", **policy)
        self.query.build(tokens_shape)
        self.key_value.build(features_shape)
        self.projection.build(tokens_shape)

    def call(self, tokens, features, known):
        return self.attend(tokens, self.remember(features), known)

    def remember(self, features):
        """Keys and values `(batch, heads, n, size)` of features, once for all tokens that will look at them."""
        keys, values = ops.split(self.key_value(features), 2, axis=-1)
        return heads_of(keys, self.num_heads), heads_of(values, self.num_heads)

    def attend(self, tokens, memory, known):
        """The same as `call`, of what `remember` returned."""
        (keys, values), m, width = memory, ops.shape(tokens)[1], tokens.shape[-1]
        q = heads_of(self.query(tokens), self.num_heads)
        scores = ops.matmul(q * (width // self.num_heads) ** -0.5, ops.transpose(keys, (0, 1, 3, 2)))
        scores = ops.where(known[:, None, None], scores, least(self.compute_dtype))  # (b, heads, m, n)
        weights = ops.softmax(scores) if keys.shape[2] != 1 else ops.ones_like(scores)  # Keras warns of one
        mixed = ops.transpose(ops.matmul(weights, values), (0, 2, 1, 3))
        return self.projection(ops.reshape(mixed, (-1, m, width)))

    def compute_output_shape(self, tokens_shape, features_shape=None, known_shape=None):
        return tokens_shape


@register
class TextDecoder(Configured, keras.layers.Layer):
    """Causal pre-norm transformer over the words of a text, with attention to an encoder's features in each block.

    Places are told by rotation, so that texts may have any length. Words come as vectors, of the backbone's own table;
    the result goes back to words by a product with the same table.

    Reference: Vaswani et al., Attention Is All You Need, 2017, https://arxiv.org/abs/1706.03762; rotary positions: Su
    et al., 2021, https://arxiv.org/abs/2104.09864

    Args:
        depth: number of blocks.
        num_heads: attention heads a block; the width divides by 2 · `num_heads`.
        mlp_ratio: hidden width of a block's perceptron in multiples of the width.
        dropout: rate in [0, 1), behind attention and perceptron.

    Input: words `(batch, m, width)`, features `(batch, n, any width)`, bool `(batch, n)`, False where a feature is
    padding. Output: `(batch, m, width)`.

    Example:

    >>> decoder = TextDecoder(depth=1, num_heads=2)
    >>> decoder.build((None, None, 8), (None, None, 6))
    >>> tuple(decoder(ops.ones((1, 3, 8)), ops.ones((1, 5, 6)), ops.ones((1, 5), "bool")).shape)
    (1, 3, 8)
    """

    def __init__(self, depth=2, num_heads=4, mlp_ratio=4.0, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.depth = depth
        self.num_heads = num_heads
        self.mlp_ratio = mlp_ratio
        self.dropout = dropout

    def build(self, words_shape, features_shape=None, known_shape=None):
        width, policy = words_shape[-1], {"dtype": self.dtype_policy}
        self._parts = []
        for i in range(self.depth):
            part = {
                "norm_1": keras.layers.LayerNormalization(epsilon=1e-6, **policy),
                "attention": SelfAttention(self.num_heads, causal=True, rotary=True, **policy),
                "norm_2": keras.layers.LayerNormalization(epsilon=1e-6, **policy),
                "cross": CrossAttention(self.num_heads, **policy),
                "norm_3": keras.layers.LayerNormalization(epsilon=1e-6, **policy),
                "mlp_1": keras.layers.Dense(int(width * self.mlp_ratio), activation="gelu", **policy),
                "mlp_2": keras.layers.Dense(width, **policy),
            }
            for name, layer in part.items():
                layer.name = f"block_{i:02d}_{name}"
                if name == "cross":
                    layer.build(words_shape, features_shape)
                else:
                    layer.build(
                        (*words_shape[:-1], int(width * self.mlp_ratio)) if name == "mlp_2" else words_shape
                    )
                setattr(self, layer.name, layer)  # tracked under a name that sorts
            self._parts.append(part)
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6, name="norm", **policy)
        self.norm.build(words_shape)
        self.drop = keras.layers.Dropout(self.dropout, name="drop", **policy) if self.dropout else None

    def call(self, words, features, known, training=None):
        x = words
        for part in self._parts:
            x = x + self._drop(part["attention"](part["norm_1"](x)), training)
            x = x + self._drop(part["cross"](part["norm_2"](x), features, known), training)
            x = x + self._drop(part["mlp_2"](part["mlp_1"](part["norm_3"](x))), training)
        return self.norm(x)

    def _drop(self, x, training):
        return x if self.drop is None else self.drop(x, training=training)

    def remember(self, features):
        """What all steps need of the encoder's features: keys and values of each block."""
        return [part["cross"].remember(features) for part in self._parts]

    def empty(self, batch, length):
        """Room for the keys and values of `length` words."""
        return [empty_cache(part["attention"], batch, length) for part in self._parts]

    def step(self, words, first, cache, memory, known):
        """What `call` gives for words that follow those in the cache: `((batch, m, width), cache)`.

        Args:
            words: `(batch, m, width)`.
            first: place of the first of them.
            cache: what `empty`, or the step before, returned.
            memory: what `remember` returned.
            known: bool `(batch, n)`, False where a feature is padding.
        """
        x, kept = words, []
        for part, state, held in zip(self._parts, cache, memory, strict=True):
            mixed, state = attention_step(part["attention"], part["norm_1"](x), state, first)
            x = x + mixed
            x = x + part["cross"].attend(part["norm_2"](x), held, known)
            x = x + part["mlp_2"](part["mlp_1"](part["norm_3"](x)))
            kept.append(state)
        return self.norm(x), kept

    def compute_output_shape(self, words_shape, features_shape=None, known_shape=None):
        return words_shape
