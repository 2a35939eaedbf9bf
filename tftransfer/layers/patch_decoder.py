"""A small transformer that fills the places which the encoder has not seen."""

import math

import keras
from keras import ops

from tftransfer.layers.config import Configured, register
from tftransfer.layers.positions import sincos_positions
from tftransfer.layers.transformer import TransformerBlock

__all__ = ["PatchDecoder"]


@register
class PatchDecoder(Configured, keras.layers.Layer):
    """The masked autoencoder's decoder: puts mask tokens in the gaps and draws every patch.

    Args:
        grid: `(rows, columns)` of patches.
        values: values of a patch.
        width: size of a token inside the decoder.
        depth: transformer blocks.
        num_heads: attention heads.

    Input: visible tokens `(batch, visible, dim)` and `restore` `(batch, tokens)`, for each place its rank in the
    shuffled order. Output: `(batch, tokens, values)`.

    Example:

    >>> decoder = PatchDecoder((2, 2), values=12, width=16, depth=1, num_heads=2)
    >>> tuple(decoder(keras.ops.ones((3, 1, 8)), keras.ops.zeros((3, 4), "int32")).shape)
    (3, 4, 12)
    """

    def __init__(self, grid, values, width, depth, num_heads, **kwargs):
        super().__init__(**kwargs)
        self.grid = tuple(grid)
        self.values = values
        self.width = width
        self.depth = depth
        self.num_heads = num_heads

    def build(self, input_shape):
        self.embed = keras.layers.Dense(self.width, name="embed")
        self.blocks = [TransformerBlock(self.num_heads, name=f"block_{i:02d}") for i in range(self.depth)]
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6, name="norm")
        self.pixels = keras.layers.Dense(self.values, name="pixels")
        self.mask_token = self.add_weight(shape=(self.width,), initializer="random_normal", name="mask_token")
        self.embed.build(input_shape)
        for layer in (*self.blocks, self.norm, self.pixels):
            layer.build((None, None, self.width))

    def call(self, visible, restore):
        seen = self.embed(visible)  # (b, visible, width)
        b, n = ops.shape(seen)[0], math.prod(self.grid)
        gaps = ops.broadcast_to(ops.cast(self.mask_token, seen.dtype), (b, n - seen.shape[1], self.width))
        tokens = ops.take_along_axis(ops.concatenate([seen, gaps], axis=1), restore[:, :, None], axis=1)
        tokens = tokens + ops.cast(sincos_positions(self.grid, self.width), tokens.dtype)  # (b, n, width)
        for block in self.blocks:
            tokens = block(tokens)
        return self.pixels(self.norm(tokens))  # (b, n, values)
