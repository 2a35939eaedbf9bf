"""The two stages of every text backbone: ids become tokens (`embedder`), tokens are mixed (`trunk`)."""

import collections

import keras

from tftransfer.backbones.shapes import sizes
from tftransfer.layers import HidePadding, NotPadding, TextSegments, Tokenization, TransformerBlock

Text = collections.namedtuple("Text", "tokenization vocabulary_size max_length end_id")
Text.__doc__ = "What a builder knows of its texts; tokenization and end_id are None for bare ids."


def read_text_shape(input_shape, vocabulary_size, *, builder):
    """What a builder of text backbones was given: a fitted `Tokenization`, or `(length,)` and a `vocabulary_size`.

    Raises:
        ValueError: for anything else.

    Example:

    >>> read_text_shape((128,), 1000, builder="bert").max_length
    128
    """
    if isinstance(input_shape, Tokenization):
        if input_shape.tokenizer is None:
            raise ValueError(
                f"{builder} received a Tokenization without a tokenizer. Call adapt(corpus) first."
            )
        size = input_shape.vocabulary_size
        if vocabulary_size not in (None, size):
            raise ValueError(
                f"The tokenization has {size} tokens; received vocabulary_size={vocabulary_size}. Leave it out."
            )
        return Text(input_shape, size, input_shape.max_length, input_shape.end_id)
    shape = sizes(input_shape, builder=builder, argument="input_shape")
    if len(shape) != 1 or vocabulary_size is None:
        raise ValueError(
            f"{builder} reads texts: it takes a fitted Tokenization, or input_shape=(length,) and vocabulary_size= for "
            f"ids of your own; received input_shape={shape} and vocabulary_size={vocabulary_size}."
        )
    (size,) = sizes((vocabulary_size,), builder=builder, argument="vocabulary_size")
    return Text(None, size, shape[0], None)


def check_sizes(*, builder, width, depth, num_heads=1):
    """Raises a `ValueError` for sizes that are no whole numbers above 0, or a width that does not divide."""
    sizes((width, depth, num_heads), builder=builder, argument="width, depth and num_heads")
    if width % num_heads:
        raise ValueError(f"width={width} does not divide by num_heads={num_heads}. Choose a multiple of it.")


def text_backbone(text, *, width, embed, mix, documents, name, stddev=0.02):
    """Builds the model of ids `(batch, length)` to features `(batch, length, width)`, which are 0 at padding.

    Args:
        text: what `read_text_shape` returned.
        width: size of a token.
        embed: function of word vectors and ids, to tokens.
        mix: function of tokens and segments, to features.
        documents: whether documents packed into one row are kept apart.
        name: name of the model.
        stddev: of the word vectors at the beginning.

    Example:

    >>> text = read_text_shape((8,), 100, builder="mine")
    >>> model = text_backbone(text, width=4, embed=lambda words, ids: words, mix=lambda tokens, segments: tokens,
    ...                       documents=False, name="mine")
    >>> model.output_shape
    (None, None, 4)
    """
    ids = keras.Input((None,), dtype="int32", name="ids")
    read = ids if text.tokenization is None else text.tokenization(ids)
    normal = keras.initializers.TruncatedNormal(stddev=stddev)
    words = keras.layers.Embedding(text.vocabulary_size, width, embeddings_initializer=normal, name="words")
    words = words(read)
    embedder = keras.Model(ids, embed(words, ids), name="embedder")

    tokens = keras.Input((None, width), name="tokens")
    segments = keras.Input((None,), dtype="int32", name="segments")
    features = HidePadding(name="hide_padding")(mix(tokens, segments), segments)
    trunk = keras.Model([tokens, segments], features, name="trunk")

    end_id = text.end_id if documents else None
    return keras.Model(ids, trunk([embedder(ids), TextSegments(end_id, name="segments")(ids)]), name=name)


def transformer_blocks(tokens, segments, depth, *settings, **options):
    """`depth` blocks, one behind the other."""
    for i in range(depth):
        tokens = TransformerBlock(*settings, **options, name=f"block_{i:02d}")(tokens, segments)
    return tokens


def recurrent_backbone(cell, text, *, width, depth, bidirectional, dropout, name):
    """Builds a model of `depth` recurrent layers of a Keras class over word vectors."""
    check_sizes(builder=name, width=width, depth=depth, num_heads=2 if bidirectional else 1)

    def mix(tokens, segments):
        known = {"mask": NotPadding(name="known")(segments)} if bidirectional else {}
        for i in range(depth):
            if dropout and i:
                tokens = keras.layers.Dropout(dropout, name=f"drop_{i:02d}")(tokens)
            block = f"block_{i:02d}"
            if bidirectional:  # padding comes first on the way back
                layer = cell(width // 2, return_sequences=True, name=f"{block}_cell")
                layer = keras.layers.Bidirectional(layer, name=block)
            else:
                layer = cell(width, return_sequences=True, name=block)
            tokens = layer(tokens, **known)
        # What a cell gives is small, and never above 1: a head learns slowly from that.
        return keras.layers.LayerNormalization(epsilon=1e-6, name="norm")(tokens)

    def embed(words, ids):
        return keras.layers.Dropout(dropout, name="drop")(words) if dropout else words

    # No norm lies behind the words: with vectors as small as a transformer's, little would move for many steps.
    return text_backbone(text, width=width, embed=embed, mix=mix, documents=False, name=name, stddev=0.1)
