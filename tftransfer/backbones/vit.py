"""Vision transformer: patches, positions, and one trunk of transformer blocks."""

import numbers

import keras

from tftransfer.backbones.shapes import picture_shape
from tftransfer.layers import PatchEmbedding, PositionEmbedding, TransformerBlock


def vit(
    input_shape,
    *,
    patch_size=None,
    width=192,
    depth=12,
    num_heads=3,
    mlp_ratio=4.0,
    dropout=0.0,
    causal=False,
    name="vit",
):
    """Builds a vision transformer as a token backbone: `embedder` (patches + positions), then `trunk`.

    The sizes of the literature: tiny `width=192, depth=12, num_heads=3` (default), small `384, 12, 6`,
    base `768, 12, 12`. For 28- or 32-pixel pictures on one CPU, `width=128, depth=4, num_heads=4` is a start.

    Reference: Dosovitskiy et al., An Image is Worth 16x16 Words, 2020, https://arxiv.org/abs/2010.11929
    Differs from it in: no class token (tasks pool the mean of the tokens, as good there: appendix D.3), and
    the position table starts as two-dimensional sines and cosines.

    Args:
        input_shape: `(height, width, channels)` in pixels.
        patch_size: side of a patch in pixels; by default 2 below 16 pixels, 4 below 64 pixels, else 16.
        width: size of a token.
        depth: number of transformer blocks.
        num_heads: attention heads a block.
        mlp_ratio: hidden width of a block's perceptron in multiples of `width`.
        dropout: dropout rate in [0, 1].
        causal: whether a patch sees only itself and those before it, row by row: for
            `objectives.NextPatchPrediction`.
        name: name of the model.

    Returns:
        A functional `keras.Model` from `(batch, height, width, channels)` in [0, 1] to `(batch, tokens,
        width)`; `get_layer("embedder")` and `get_layer("trunk")` are its two stages.

    Raises:
        ValueError: for a shape or size that is not of whole numbers, a picture that does not divide into
            patches, or a `width` that does not divide by `num_heads`.

    Example:

    >>> vit((32, 32, 3), width=64, depth=2, num_heads=4).output_shape
    (None, 64, 64)
    """
    input_shape = picture_shape(input_shape, builder="vit")
    side = min(input_shape[:2])
    patch_size = patch_size or (2 if side < 16 else 4 if side < 64 else 16)
    for argument, value in (
        ("patch_size", patch_size),
        ("width", width),
        ("depth", depth),
        ("num_heads", num_heads),
    ):
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
            raise ValueError(f"vit takes {argument} as a whole number from 1 up; received {value!r}.")
    if width % num_heads:
        raise ValueError(f"width={width} does not divide by num_heads={num_heads}. Choose a multiple of it.")
    if side < patch_size:
        raise ValueError(
            f"A picture of {input_shape[0]}×{input_shape[1]} pixels is smaller than a patch of {patch_size}."
        )

    pictures = keras.Input(input_shape, name="pictures")
    grid = (input_shape[0] // patch_size, input_shape[1] // patch_size)
    x = PatchEmbedding(patch_size, width, name="patches")(pictures)  # (b, tokens, width)
    embedder = keras.Model(pictures, PositionEmbedding(grid, name="positions")(x), name="embedder")

    tokens = keras.Input((None, width), name="tokens")
    x = tokens
    for i in range(depth):
        x = TransformerBlock(num_heads, mlp_ratio, dropout, causal, name=f"block_{i:02d}")(x)
    x = keras.layers.LayerNormalization(epsilon=1e-6, name="norm")(x)
    trunk = keras.Model(tokens, x, name="trunk")

    return keras.Model(pictures, trunk(embedder(pictures)), name=name)
