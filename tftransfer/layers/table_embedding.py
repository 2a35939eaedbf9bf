"""Columns of a table as tokens."""

import keras
from keras import ops

from tftransfer.layers.config import Configured, register

__all__ = ["TableEmbedding"]


@register
class TableEmbedding(Configured, keras.layers.Layer):
    """One token for each column: a number times a vector of its column, or the vector of a category, plus a bias.

    `token_j = b_j + x_j · w_j` for a number, `b_j + e_j[category]` for a category; a missing value and a category that
    was not there in fitting have vectors of their own, where fitting had examples of them, and are `b_j` alone
    where it had none. Which column a token stands for is in its vectors, so there are no positions to add.

    Reference: Gorishniy et al., Revisiting Deep Learning Models for Tabular Data, 2021,
    https://arxiv.org/abs/2106.11959 (the feature tokenizer)

    Args:
        preprocessing: a fitted `TablePreprocessing`.
        width: size of a token.

    Input: encoded rows `(batch, columns)`. Output: `(batch, columns, width)`.

    Example:

    >>> from tftransfer.layers import TablePreprocessing
    >>> tuple(TableEmbedding(TablePreprocessing.plain(5), 8)(ops.zeros((2, 5))).shape)
    (2, 5, 8)
    """

    def __init__(self, preprocessing, width, **kwargs):
        kwargs.pop("autocast", None)
        super().__init__(**kwargs, autocast=False)  # codes of categories stay whole numbers
        self.preprocessing = preprocessing
        self.width = width

    def build(self, input_shape):
        if not self.preprocessing.built:
            self.preprocessing.build(input_shape)
            self.preprocessing.built = True
        self.table = self._vectors(self.preprocessing.width, "table")
        self.bias = self._vectors(input_shape[-1], "bias")

    def _vectors(self, count, name):
        bound = self.width**-0.5
        start = keras.initializers.RandomUniform(-bound, bound)
        return self.add_weight(shape=(count, self.width), initializer=start, name=name)

    def call(self, rows):
        values = ops.cast(self.preprocessing.one_hot(rows), self.compute_dtype)  # (b, columns, places)
        table, bias = (ops.cast(variable, self.compute_dtype) for variable in (self.table, self.bias))
        return ops.matmul(values, table) + bias  # (b, columns, width)

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.width)
