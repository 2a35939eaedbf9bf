"""Gated recurrent units over texts."""

import keras

from tftransfer.backbones.text_stages import read_text_shape, recurrent_backbone


def gru(
    input_shape,
    *,
    vocabulary_size=None,
    width=256,
    depth=2,
    bidirectional=False,
    dropout=0.0,
    name="gru",
):
    """Builds a stack of GRU layers over word vectors.

    As `lstm`, with one state in place of two and a quarter fewer weights.

    Reference: Cho et al., Learning Phrase Representations using RNN Encoder-Decoder, 2014,
    https://arxiv.org/abs/1406.1078
    Differs from it in: a norm behind the last layer, as in a transformer, without which a head learns slowly;
    documents packed into one row are read on end.

    Args:
        input_shape: a fitted `layers.Tokenization`, which becomes part of the model; or `(length,)`, the longest row,
            for ids of your own (0 = padding), with `vocabulary_size`.
        vocabulary_size: number of ids, where `input_shape` is `(length,)`.
        width: size of a word's vector and of the features; even with `bidirectional`.
        depth: number of recurrent layers.
        bidirectional: whether half of the width reads each text backwards. Such a model sees what comes, so it serves
            no objective that predicts the next token.
        dropout: dropout rate of the words and between layers, in [0, 1].
        name: name of the model.

    Returns:
        A functional `keras.Model` from ids `(batch, length)` to `(batch, length, width)`, exactly 0 at padding;
        `get_layer("embedder")` and `get_layer("trunk")` (tokens and segments) are its stages.

    Raises:
        ValueError: for another shape, a tokenization without a tokenizer, or an odd `width` with `bidirectional`.

    Example:

    >>> gru((128,), vocabulary_size=1000, width=32, depth=1).output_shape
    (None, None, 32)
    """
    text = read_text_shape(input_shape, vocabulary_size, builder="gru")
    options = {"bidirectional": bidirectional, "dropout": dropout, "name": name}
    return recurrent_backbone(keras.layers.GRU, text, width=width, depth=depth, **options)
