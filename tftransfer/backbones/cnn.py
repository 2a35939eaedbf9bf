"""A small convolutional network, for digits and other small pictures."""

import keras

from tftransfer.backbones.shapes import picture_shape, sizes
from tftransfer.layers import batch_normalization


def cnn(input_shape, *, filters=(32, 64, 128), kernel_size=3, name="cnn"):
    """Builds a small convolutional network: convolution, 2×2 max pooling, normalisation and relu, repeated.

    The first choice on a CPU: it learns handwritten digits in seconds. Its features are a map, which serves
    pooling and a convolutional decoder alike. Pooling comes before normalisation and relu: these rise with
    their input as long as `gamma` is positive, so the order changes nothing but the statistics, and both
    then work on a quarter of the map. A map of two pixels is not pooled further: 8-pixel digits end as 2×2.

    Reference: LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998,
    https://doi.org/10.1109/5.726791
    Differs from it in: 3×3 kernels, relu, max pooling, batch normalisation, more filters and no dense layers.

    Args:
        input_shape: `(height, width, channels)` in pixels, at least 4×4.
        filters: number of filters of each block, in order; the last one is the depth of the map.
        kernel_size: side of the kernels in pixels.
        name: name of the model.

    Returns:
        A functional `keras.Model` from `(batch, height, width, channels)` in [0, 1] to a map
        `(batch, h, w, filters[-1])`. Each pooling halves the sides, rounded up: with three blocks 32 and 28
        pixels become 4, and 8 pixels become 2.

    Raises:
        ValueError: for a shape that is not three whole numbers, a picture that is too small, or bad filters.

    Example:

    >>> cnn((8, 8, 1)).output_shape
    (None, 2, 2, 128)
    >>> cnn((32, 32, 3), filters=(32, 64)).output_shape
    (None, 8, 8, 64)
    """
    shape = picture_shape(input_shape, builder="cnn", smallest=4)
    filters = sizes(filters, builder="cnn", argument="filters")
    (kernel_size,) = sizes((kernel_size,), builder="cnn", argument="kernel_size")

    pictures = x = keras.Input(shape, name="pictures")
    for i, count in enumerate(filters):
        block = f"block_{i:02d}"
        conv = keras.layers.Conv2D(count, kernel_size, padding="same", use_bias=False, name=f"{block}_conv")
        x = conv(x)
        if min(x.shape[1:3]) > 2:
            x = keras.layers.MaxPooling2D(2, padding="same", name=f"{block}_pool")(x)  # (b, h/2, w/2, count)
        x = batch_normalization(f"{block}_norm")(x)
        x = keras.layers.ReLU(name=f"{block}_relu")(x)
    return keras.Model(pictures, x, name=name)
