"""What the parts of a text model know of its ids: documents, places, types; and where its word table is."""

import keras
from keras import ops

from tftransfer.layers.config import Configured, register

__all__ = [
    "HidePadding",
    "NotPadding",
    "TextSegments",
    "TokenPositions",
    "TokenTypeIds",
    "TokenTypes",
    "word_table",
]


@register
class TextSegments(Configured, keras.layers.Layer):
    """Which document of its row each token belongs to: 0 is padding, and attention sees one document alone.

    The number of ends before the token, plus 1. Without `end_id` a row is one document.

    Args:
        end_id: the id that ends a document; it belongs to it.

    Input: ids `(batch, length)`. Output: int32 `(batch, length)`.

    Example:

    >>> ops.convert_to_numpy(TextSegments(end_id=3)(ops.convert_to_tensor([[7, 8, 3, 9, 3, 0]]))).tolist()
    [[1, 1, 1, 2, 2, 0]]
    """

    def __init__(self, end_id=None, **kwargs):
        super().__init__(**kwargs)
        self.end_id = end_id

    def call(self, ids):
        known = ops.cast(ops.not_equal(ids, 0), "int32")
        return known if self.end_id is None else known * (1 + _ends_before(ids, self.end_id))

    def compute_output_spec(self, ids):
        return keras.KerasTensor(ids.shape, "int32")


@register
class TokenPositions(Configured, keras.layers.Layer):
    """Adds the learned vector of its place to each token; places count from 0 in each document.

    Args:
        max_length: number of places in the table.
        end_id: the id that ends a document; None where a row is one document.

    Input: tokens `(batch, length, width)` and ids `(batch, length)`. Output: tokens.

    Raises:
        ValueError: for rows longer than the table.

    Example:

    >>> tuple(TokenPositions(4)(ops.zeros((1, 3, 8)), ops.ones((1, 3), "int32")).shape)
    (1, 3, 8)
    """

    def __init__(self, max_length, end_id=None, **kwargs):
        super().__init__(**kwargs)
        self.max_length = max_length
        self.end_id = end_id

    def build(self, input_shape):
        self.table = self.add_weight(
            shape=(self.max_length, input_shape[-1]),
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            name="table",
        )

    def call(self, tokens, ids):
        n = ops.shape(ids)[1]
        if isinstance(n, int) and n > self.max_length:
            raise ValueError(
                f"The texts have {n} tokens, and the position table {self.max_length} places. Encode them with "
                f"max_length={self.max_length}, or build the backbone on a Tokenization with a larger max_length."
            )
        table = ops.cast(self.table, self.compute_dtype)
        if self.end_id is None:
            return tokens + table[:n]
        return tokens + ops.take(table, _places(ids, self.end_id), axis=0)

    def compute_output_shape(self, tokens_shape, ids_shape=None):
        return tokens_shape


@register
class TokenTypes(Configured, keras.layers.Layer):
    """Adds one of two learned vectors to each token: the first up to the first end, the second behind it.

    BERT's token types: in `[CLS] a [SEP] b [SEP]` the tokens of b have the second. A single text has the first alone.

    Args:
        end_id: the id between two texts; None gives all tokens the first vector.

    Input: tokens `(batch, length, width)` and ids `(batch, length)`. Output: tokens.

    Example:

    >>> tuple(TokenTypes(3)(ops.zeros((1, 3, 8)), ops.ones((1, 3), "int32")).shape)
    (1, 3, 8)
    """

    def __init__(self, end_id=None, **kwargs):
        super().__init__(**kwargs)
        self.end_id = end_id

    def build(self, input_shape):
        normal = keras.initializers.TruncatedNormal(stddev=0.02)
        self.table = self.add_weight(shape=(2, input_shape[-1]), initializer=normal, name="table")

    def call(self, tokens, ids):
        table = ops.cast(self.table, self.compute_dtype)
        if self.end_id is None:
            return tokens + table[0]
        second = _is_second(ids, self.end_id)
        return tokens + table[0] + ops.cast(second, self.compute_dtype)[..., None] * (table[1] - table[0])

    def compute_output_shape(self, tokens_shape, ids_shape=None):
        return tokens_shape


@register
class TokenTypeIds(Configured, keras.layers.Layer):
    """The number of each token's type: 0 up to the first end, 1 behind it, 0 at padding.

    Args:
        end_id: the id between two texts; None gives all tokens the type 0.

    Input: ids `(batch, length)`. Output: int32 `(batch, length)`.

    Example:

    >>> ops.convert_to_numpy(TokenTypeIds(3)(ops.convert_to_tensor([[2, 7, 3, 8, 3, 0]]))).tolist()
    [[0, 0, 0, 1, 1, 0]]
    """

    def __init__(self, end_id=None, **kwargs):
        super().__init__(**kwargs)
        self.end_id = end_id

    def call(self, ids):
        if self.end_id is None:
            return ops.zeros_like(ids, dtype="int32")
        return ops.cast(_is_second(ids, self.end_id), "int32")

    def compute_output_spec(self, ids):
        return keras.KerasTensor(ids.shape, "int32")


@register
class HidePadding(Configured, keras.layers.Layer):
    """Sets the features of padding to exactly zero, so that pooling finds the tokens without a mask.

    Input: tokens `(batch, length, width)` and segments `(batch, length)`. Output: tokens.

    Example:

    >>> float(ops.sum(HidePadding()(ops.ones((1, 3, 8)), ops.convert_to_tensor([[1, 1, 0]]))))
    16.0
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True  # it takes one, and gives none: zeros say the same

    def compute_mask(self, tokens, previous_mask=None):
        return None

    def call(self, tokens, segments):
        return tokens * ops.cast(ops.not_equal(segments, 0), tokens.dtype)[..., None]

    def compute_output_shape(self, tokens_shape, segments_shape=None):
        return tokens_shape


@register
class NotPadding(Configured, keras.layers.Layer):
    """Which tokens are no padding: the mask that recurrent layers take.

    Input: segments `(batch, length)`. Output: bool `(batch, length)`.

    Example:

    >>> ops.convert_to_numpy(NotPadding()(ops.convert_to_tensor([[1, 2, 0]]))).tolist()
    [[True, True, False]]
    """

    def call(self, segments):
        return ops.not_equal(segments, 0)

    def compute_output_spec(self, segments):
        return keras.KerasTensor(segments.shape, "bool")


def word_table(backbone):
    """The word table `(vocabulary, width)` of a text backbone, or None where it has none.

    Args:
        backbone: a model whose `embedder` has a layer `words`, as the builders of text backbones make, or with a layer
            `token_embedding`, as KerasHub's have.

    Example:

    >>> from tftransfer import backbones
    >>> tuple(word_table(backbones.gru((16,), vocabulary_size=50, width=8, depth=1)).shape)
    (50, 8)
    """
    try:
        return backbone.get_layer("embedder").get_layer("words").embeddings
    except (ValueError, AttributeError):
        found = (layer for layer in backbone._flatten_layers() if layer.name == "token_embedding")
        return getattr(next(found, None), "embeddings", None)


def _ends_before(ids, end_id):
    """How many ends stand before each token."""
    ends = ops.cast(ops.equal(ids, end_id), "int32")
    return ops.cumsum(ends, axis=1) - ends


def _is_second(ids, end_id):
    return ops.logical_and(_ends_before(ids, end_id) > 0, ops.not_equal(ids, 0))


def _places(ids, end_id):
    """Place of each token in its document: how many tokens of it stand before."""
    documents, places = _ends_before(ids, end_id), ops.arange(ops.shape(ids)[1])
    same = ops.equal(documents[:, :, None], documents[:, None, :])  # (b, n, n)
    before = ops.logical_and(same, places[:, None] > places[None])
    return ops.sum(ops.cast(before, "int32"), axis=-1)
