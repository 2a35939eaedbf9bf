"""GPT: a transformer in which each token sees those before it."""

import keras

from tftransfer.backbones.text_stages import check_sizes, read_text_shape, text_backbone, transformer_blocks
from tftransfer.layers import TokenPositions


def gpt(
    input_shape,
    *,
    vocabulary_size=None,
    width=256,
    depth=4,
    num_heads=4,
    mlp_ratio=4.0,
    dropout=0.0,
    rematerialize=False,
    name="gpt",
):
    """Builds GPT-2: words and positions, causal blocks that normalise first, a last norm.

    For generation, behind `objectives.CausalLM`. Documents packed into one row (`Tokenization.pack`) do not see each
    other, and positions begin anew in each. GPT-2's own sizes: `width=768, depth=12, num_heads=12` and up; for one CPU
    the default, or less.

    Reference: Radford et al., Language Models are Unsupervised Multitask Learners, 2019,
    https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf
    Differs from it in: no dropout by default (theirs is 0.1, in attention too), documents kept apart, weights that
    start as Glorot's.

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

    >>> gpt((128,), vocabulary_size=1000, width=32, depth=2, num_heads=2).output_shape
    (None, None, 32)
    """
    text = read_text_shape(input_shape, vocabulary_size, builder="gpt")
    check_sizes(builder="gpt", width=width, depth=depth, num_heads=num_heads)

    def embed(words, ids):
        x = TokenPositions(text.max_length, text.end_id, name="positions")(words, ids)
        return keras.layers.Dropout(dropout, name="drop")(x) if dropout else x

    def mix(tokens, segments):
        options = {"activation": "gelu_tanh", "epsilon": 1e-5, "rematerialize": rematerialize}
        x = transformer_blocks(tokens, segments, depth, num_heads, mlp_ratio, dropout, True, **options)
        return keras.layers.LayerNormalization(epsilon=1e-5, name="norm")(x)

    return text_backbone(text, width=width, embed=embed, mix=mix, documents=True, name=name)
