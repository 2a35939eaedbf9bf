"""What hidden tokens are to say: the values of a patch, a number, a category. One object for each kind of input."""

import math

import numpy as np
from keras import ops

from tftransfer.layers.patches import normalize_patches, patchify
from tftransfer.layers.table_preprocessing import preprocessing_of

__all__ = ["ColumnTargets", "PatchTargets", "ValueTargets", "row_targets", "token_targets"]


class PatchTargets:
    """Pixels of each patch of a picture, and the mean squared error of what is said of them.

    Args:
        backbone: a token backbone over pictures of one size.
        normalize: whether a patch is taken relative to its own mean and deviation.
    """

    def __init__(self, backbone, *, normalize):
        _, tokens, _ = backbone.get_layer("embedder").output_shape
        h, w, channels = backbone.input_shape[1:]
        self.normalize = normalize
        self.patch_size = round(math.sqrt(h * w / tokens))
        self.grid = (h // self.patch_size, w // self.patch_size)
        self.values = self.patch_size**2 * channels

    def __call__(self, pictures):
        patches = patchify(ops.cast(pictures, "float32"), self.patch_size)  # (b, tokens, values)
        return normalize_patches(patches) if self.normalize else patches

    def error(self, prediction, target):
        """`(batch, tokens)`: mean squared error of each token."""
        difference = ops.cast(prediction, "float32") - ops.cast(target, "float32")
        return ops.mean(ops.square(difference), axis=-1)


class ColumnTargets:
    """Columns of a table: the squared error of a standardised number, the cross-entropy of a category.

    A missing value is no target: its error is 0.

    Args:
        preprocessing: the fitted `TablePreprocessing` of the rows.
    """

    def __init__(self, preprocessing):
        self.preprocessing = preprocessing
        columns, self.values = len(preprocessing.columns), preprocessing.width
        self.grid = (columns,)
        number, category = np.zeros((2, columns, self.values), "float32")
        for i, (offset, size) in enumerate(zip(preprocessing.offsets, preprocessing.sizes, strict=True)):
            if preprocessing.numeric[i]:
                number[i, offset] = 1
            else:
                category[i, offset + 1 : offset + size] = 1  # all but "missing"
        self._number, self._category = number, category

    def __call__(self, rows):
        return ops.cast(rows, "float32")

    def error(self, prediction, target):
        """`(batch, columns)`, of predictions `(batch, columns, width)`, or `(batch, width)` for all columns at once."""
        prediction = ops.cast(prediction, "float32")
        if len(prediction.shape) == 2:
            prediction = prediction[:, None]  # (b, 1, width)
        place, value, present = self.preprocessing.places(target)
        squared = ops.square(ops.sum(prediction * self._number, axis=-1) - value)
        logits = prediction + (self._category - 1) * 1e9
        own = ops.sum(prediction * ops.one_hot(place, self.values, dtype="float32"), axis=-1)
        surprise = ops.logsumexp(logits, axis=-1) - own  # (b, columns)
        return ops.where(self.preprocessing.numeric, squared, surprise) * ops.cast(present, "float32")


class ValueTargets:
    """Values of a plain row, and their squared error."""

    def __init__(self, features):
        self.values = features

    def __call__(self, rows):
        return rows

    def error(self, prediction, target):
        """`(batch, features)`."""
        return ops.square(ops.cast(prediction, "float32") - ops.cast(target, "float32"))


def token_targets(backbone, *, normalize=False):
    """What each token of a token backbone is to say when it is hidden.

    Args:
        backbone: a token backbone; one with a `TablePreprocessing` inside reads a table, else it reads pictures.
        normalize: whether a patch of a picture is taken relative to its own mean and deviation.

    Returns:
        An object with `grid` (of the tokens' positions), `values` (how many a token predicts), `error(prediction,
        target)` to `(batch, tokens)`, and a call from examples to targets.

    Example:

    >>> from tftransfer import backbones
    >>> targets = token_targets(backbones.vit((8, 8, 1), patch_size=4, width=8, depth=1, num_heads=1))
    >>> targets.grid, targets.values
    ((2, 2), 16)
    """
    preprocessing = preprocessing_of(backbone)
    return ColumnTargets(preprocessing) if preprocessing else PatchTargets(backbone, normalize=normalize)


def row_targets(backbone):
    """What is to be said of the columns of a row: of an encoded table, or of plain values.

    Args:
        backbone: a `keras.Model` over rows `(batch, columns)`.

    Example:

    >>> from tftransfer import backbones
    >>> row_targets(backbones.mlp((5,), units=(4,))).values
    5
    """
    preprocessing = preprocessing_of(backbone)
    return ColumnTargets(preprocessing) if preprocessing else ValueTargets(backbone.input_shape[-1])
