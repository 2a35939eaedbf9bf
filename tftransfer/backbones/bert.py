"""BERT: a transformer over the tokens of a text that looks in both directions."""

import keras

from tftransfer.backbones.text_stages import check_sizes, read_text_shape, text_backbone, transformer_blocks
from tftransfer.layers import TokenPositions, TokenTypes


def bert(
    input_shape,
    *,
    vocabulary_size=None,
    width=256,
    depth=4,
    num_heads=4,
    mlp_ratio=4.0,
    dropout=0.0,
    rematerialize=False,
    name="bert",
):
    """Builds BERT: words, positions and types, then blocks that normalise behind each sum.

    For classification, pairs, tags and search, behind `objectives.MaskedLM`. The sizes of the literature: tiny
    `width=128, depth=2, num_heads=2`, mini (default) `256, 4, 4`, small `512, 4, 8`, medium `512, 8, 8`, base
    `768, 12, 12`.

    Reference: Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers, 2018,
    https://arxiv.org/abs/1810.04805; its smaller sizes: Turc et al., 2019, https://arxiv.org/abs/1908.08962
    Differs from it in: no dropout by default (theirs is 0.1, in attention too), no pooler behind the first token.

    Args:
        input_shape: a fitted `layers.Tokenization`, which becomes part of the model; or `(length,)`, the longest row,
            for ids of your own (0 = padding), with `vocabulary_size`.
        vocabulary_size: number of ids, where `input_shape` is `(length,)`.
        width: size of a token.
        depth: number of transformer blocks.
        num_heads: attention heads a block.
        mlp_ratio: hidden width of a block's perceptron in multiples of `width`.
        dropout: dropout rate in [0, 1], of the tokens and behind attention and perceptron.
        rematerialize: compute the inner values of a block again on the way back and keep them not (gradient
            checkpointing): less memory, for longer texts or larger batches, and more time a step.
        name: name of the model.

    Returns:
        A functional `keras.Model` from ids `(batch, length)`, of any length up to the longest, to `(batch, length,
        width)`, exactly 0 at padding; `get_layer("embedder")` and `get_layer("trunk")` (tokens and segments) are its
        stages.

    Raises:
        ValueError: for another shape, a tokenization without a tokenizer, or a `width` that does not divide by
            `num_heads`.

    Example:

    >>> bert((128,), vocabulary_size=1000, width=32, depth=2, num_heads=2).output_shape
    (None, None, 32)
    """
    text = read_text_shape(input_shape, vocabulary_size, builder="bert")
    check_sizes(builder="bert", width=width, depth=depth, num_heads=num_heads)

    def embed(words, ids):
        x = TokenPositions(text.max_length, name="positions")(words, ids)
        x = TokenTypes(text.end_id, name="types")(x, ids)
        x = keras.layers.LayerNormalization(epsilon=1e-12, name="norm")(x)
        return keras.layers.Dropout(dropout, name="drop")(x) if dropout else x

    def mix(tokens, segments):
        options = {"post_norm": True, "epsilon": 1e-12, "rematerialize": rematerialize, "kernel_stddev": 0.02}
        return transformer_blocks(tokens, segments, depth, num_heads, mlp_ratio, dropout, **options)

    return text_backbone(text, width=width, embed=embed, mix=mix, documents=False, name=name)
