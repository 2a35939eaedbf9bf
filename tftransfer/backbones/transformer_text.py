"""A transformer over texts as they are built today: norms first, places told by rotation."""

import keras

from tftransfer.backbones.text_stages import check_sizes, read_text_shape, text_backbone, transformer_blocks


def transformer_text(
    input_shape,
    *,
    vocabulary_size=None,
    width=256,
    depth=4,
    num_heads=4,
    mlp_ratio=4.0,
    dropout=0.0,
    causal=False,
    rematerialize=False,
    name="transformer_text",
):
    """Builds a transformer that normalises first and turns queries and keys by their place (rotary positions).

    Trains more steadily than BERT's order of norms, and has no position table: texts may be longer than any seen in
    training, as far as it carries. Looks in both directions, or with `causal` back only; documents packed into one row
    do not see each other.

    Reference: Su et al., RoFormer: Enhanced Transformer with Rotary Position Embedding, 2021,
    https://arxiv.org/abs/2104.09864; norms first: Xiong et al., 2020, https://arxiv.org/abs/2002.04745
    Differs from it in: norms first, and no task of their own.

    Args:
        input_shape: a fitted `layers.Tokenization`, which becomes part of the model; or `(length,)`, the longest row,
            for ids of your own (0 = padding), with `vocabulary_size`.
        vocabulary_size: number of ids, where `input_shape` is `(length,)`.
        width: size of a token; divides by 2 · `num_heads`.
        depth: number of transformer blocks.
        num_heads: attention heads a block.
        mlp_ratio: hidden width of a block's perceptron in multiples of `width`.
        dropout: dropout rate in [0, 1], of the tokens and behind attention and perceptron.
        causal: whether a token sees only itself and those before it: for `objectives.CausalLM`.
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

    >>> transformer_text((128,), vocabulary_size=1000, width=32, depth=2, num_heads=2).output_shape
    (None, None, 32)
    """
    text = read_text_shape(input_shape, vocabulary_size, builder="transformer_text")
    check_sizes(builder="transformer_text", width=width, depth=depth, num_heads=num_heads)

    def embed(words, ids):
        return keras.layers.Dropout(dropout, name="drop")(words) if dropout else words

    def mix(tokens, segments):
        options = {"rotary": True, "rematerialize": rematerialize}
        x = transformer_blocks(tokens, segments, depth, num_heads, mlp_ratio, dropout, causal, **options)
        return keras.layers.LayerNormalization(epsilon=1e-6, name="norm")(x)

    return text_backbone(text, width=width, embed=embed, mix=mix, documents=causal, name=name)
