"""Which pixels each place of a backbone's features stands for."""

import math

from keras import ops

from tftransfer.layers.patches import patchify, unpatchify

__all__ = ["PlacePatches"]


class PlacePatches:
    """Pictures as patches, one for each place of a map, each token, or the whole for a vector.

    Where the patches are larger than the picture together, those at the bottom and right are cut.

    Args:
        backbone: a `keras.Model` over pictures of one size.

    Attributes:
        grid: rows and columns of places; (1, 1) for a vector.
        size: side of a patch in pixels.

    Raises:
        ValueError: for tokens that do not form a grid over the picture.

    Example:

    >>> from tftransfer import backbones
    >>> patches = PlacePatches(backbones.cnn((10, 8, 1), filters=(4, 8)))
    >>> patches.grid, patches.size
    ((3, 2), 4)
    """

    def __init__(self, backbone):
        self.height, self.width = backbone.input_shape[1:3]
        self.grid = rows, columns = _grid(backbone)
        self.size = max(math.ceil(self.height / rows), math.ceil(self.width / columns))

    def together(self, values):
        """Pictures `(batch, height, width, channels)` of patches `(batch, places, size · size · channels)`."""
        rows, columns = self.grid
        channels = values.shape[-1] // self.size**2
        whole = unpatchify(values, (rows * self.size, columns * self.size, channels))
        return whole[:, : self.height, : self.width]

    def moments(self, pictures):
        """Mean and variance of the patch that each pixel lies in, over the pixels of it that there are.

        Args:
            pictures: `(batch, height, width, channels)`.

        Returns:
            Two float32 tensors `(batch, height, width, 1)`.
        """
        pictures = ops.cast(pictures, "float32")
        patches, inside = self._apart(pictures), self._apart(ops.ones_like(pictures[:1]))
        count = ops.sum(inside, axis=-1, keepdims=True)
        mean = ops.sum(patches, axis=-1, keepdims=True) / count  # (b, places, 1)
        variance = ops.sum(inside * ops.square(patches - mean), axis=-1, keepdims=True) / count
        spread = (1, 1, self.size**2)
        return self.together(ops.tile(mean, spread)), self.together(ops.tile(variance, spread))

    def _apart(self, pictures):
        bottom, right = (n * self.size for n in self.grid)
        edges = ((0, 0), (0, bottom - self.height), (0, right - self.width), (0, 0))
        return patchify(ops.pad(pictures, edges), self.size)  # (b, places, size · size · channels)


def _grid(backbone):
    shape = backbone.output_shape
    if len(shape) == 4:
        return shape[1:3]
    if len(shape) == 2:
        return (1, 1)
    h, w = backbone.input_shape[1:3]
    tokens = shape[1] or 1
    patch = round(math.sqrt(h * w / tokens))
    if (h // patch) * (w // patch) != tokens:
        raise ValueError(
            f"SimMIM draws a patch of pixels from each token, and the {shape[1]} tokens of {backbone.name!r} do not "
            f"form a grid over pictures of {h}×{w} pixels. Remove tokens that stand for no "
            f"place, such as a class token."
        )
    return (h // patch, w // patch)
