"""Transformer over the columns of a table."""

import keras

from tftransfer.backbones.shapes import row_preprocessing
from tftransfer.layers import TableEmbedding, TransformerBlock


def table_transformer(
    input_shape, *, width=192, depth=3, num_heads=8, mlp_ratio=4 / 3, dropout=0.0, name="table_transformer"
):
    """Builds a transformer whose tokens are the columns of a table: `embedder`, then `trunk`.

    The FT-Transformer. Each column sees every other one, so that `objectives.MaskedAutoencoder` can hide columns; SCARF
    and VIME serve as well. On a CPU, and for tables of a few thousand rows, `width=64` is enough; `backbones.mlp` is
    several times cheaper a step.

    Reference: Gorishniy et al., Revisiting Deep Learning Models for Tabular Data, 2021,
    https://arxiv.org/abs/2106.11959
    Differs from it in: no class token (tasks pool the mean of the tokens), GELU in place of ReGLU, and no dropout by
    default (theirs is 0.2 in attention and 0.1 behind it).

    Args:
        input_shape: a fitted `layers.TablePreprocessing`, which becomes part of the model; or `(columns,)`, for
            numbers that are standardised already and have no gaps.
        width: size of a token.
        depth: number of transformer blocks.
        num_heads: attention heads a block.
        mlp_ratio: hidden width of a block's perceptron in multiples of `width`.
        dropout: dropout rate in [0, 1].
        name: name of the model.

    Returns:
        A functional `keras.Model` from encoded rows `(batch, columns)` to `(batch, columns, width)`;
        `get_layer("embedder")` and `get_layer("trunk")` are its two stages.

    Raises:
        ValueError: for another shape, a preprocessing that was not fitted, or a `width` that does not divide by
            `num_heads`.

    Example:

    >>> from tftransfer.layers import TablePreprocessing
    >>> preprocessing = TablePreprocessing().adapt({"age": [39, 50, None], "job": ["clerk", "cook", "clerk"]})
    >>> table_transformer(preprocessing, width=16, depth=1, num_heads=2).output_shape
    (None, 2, 16)
    """
    preprocessing = row_preprocessing(input_shape, builder="table_transformer")
    if width % num_heads:
        raise ValueError(f"width={width} does not divide by num_heads={num_heads}. Choose a multiple of it.")

    rows = keras.Input((len(preprocessing.columns),), name="rows")
    embedder = keras.Model(rows, TableEmbedding(preprocessing, width, name="columns")(rows), name="embedder")

    tokens = keras.Input((None, width), name="tokens")
    x = tokens
    for i in range(depth):
        x = TransformerBlock(num_heads, mlp_ratio, dropout, name=f"block_{i:02d}")(x)
    x = keras.layers.LayerNormalization(epsilon=1e-6, name="norm")(x)
    trunk = keras.Model(tokens, x, name="trunk")

    return keras.Model(rows, trunk(embedder(rows)), name=name)
