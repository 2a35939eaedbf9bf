"""Where a token stands: learned tables that begin as sines and cosines."""

import keras
import numpy as np

from tftransfer.layers.config import Configured, register


def sincos_positions(grid, width):
    """Sine-cosine position codes on a grid of one or two dimensions.

    Half of the channels code the row and half the column (one dimension: all channels code the index), each
    as `sin(position · ω), cos(position · ω)` with `ω = 10000^(-k / (channels / 2))`.

    Reference: Vaswani et al., Attention Is All You Need, 2017, https://arxiv.org/abs/1706.03762, and in two
    dimensions He et al., Masked Autoencoders Are Scalable Vision Learners, 2021, https://arxiv.org/abs/2111.06377

    Args:
        grid: `(length,)` or `(rows, columns)`.
        width: number of channels; channels left over by the division stay zero.

    Returns:
        NumPy array `(tokens, width)`, float32.

    Example:

    >>> sincos_positions((2, 3), 8).shape
    (6, 8)
    """
    axes = np.meshgrid(*[np.arange(n, dtype="float64") for n in grid], indexing="ij")
    half = width // (2 * len(grid))
    omega = 10000.0 ** (-np.arange(half) / max(half, 1))
    codes = []
    for axis in axes:
        angles = axis.reshape(-1, 1) * omega  # (tokens, half)
        codes += [np.sin(angles), np.cos(angles)]
    table = np.concatenate(codes, axis=1)  # (tokens, 2 · half · axes)
    return np.pad(table, ((0, 0), (0, width - table.shape[1]))).astype("float32")


@register
class PositionEmbedding(Configured, keras.layers.Layer):
    """Adds a position table to tokens; the table starts as sines and cosines and is learned unless frozen.

    Args:
        grid: `(length,)` or `(rows, columns)`; kept, so that the table can be interpolated to another size.
        learned: whether the table is trained.

    Input and output shape: `(batch, tokens, width)` with `tokens` the product of `grid`.

    Example:

    >>> tuple(PositionEmbedding((2, 2))(keras.ops.zeros((1, 4, 8))).shape)
    (1, 4, 8)
    """

    def __init__(self, grid, learned=True, **kwargs):
        super().__init__(**kwargs)
        self.grid = tuple(grid)
        self.learned = learned

    def build(self, input_shape):
        tokens, width = input_shape[-2:]
        if tokens is not None and tokens != int(np.prod(self.grid)):
            raise ValueError(f"The position table has {self.grid} places, and {tokens} tokens were received.")
        self.table = self.add_weight(
            shape=(int(np.prod(self.grid)), width),
            initializer=lambda shape, dtype=None: keras.ops.convert_to_tensor(
                sincos_positions(self.grid, shape[-1]), dtype=dtype
            ),
            trainable=self.learned,
            name="table",
        )

    def call(self, tokens):
        return tokens + self.table
