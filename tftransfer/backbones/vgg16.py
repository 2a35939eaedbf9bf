"""VGG-16, its convolutional part."""

import keras

from tftransfer.backbones.shapes import picture_shape
from tftransfer.layers import batch_normalization as normalization

_FILTERS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vgg16(input_shape, *, batch_normalization=False, name="vgg16"):
    """Builds the thirteen convolutions of VGG-16 in five blocks, each ended by 2×2 max pooling.

    A plain, heavy network, still common as the encoder of detectors and of U-Net-like models. 14.71 million
    parameters with 3 channels. From random weights it trains slowly: use `batch_normalization=True` there.

    Reference: Simonyan & Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, 2014,
    https://arxiv.org/abs/1409.1556 (configuration D)
    Differs from it in: no dense layers; the kernels start by He's rule, with which thirteen layers train at
    once; a pooling is left out where the map is already one pixel high or wide, so small pictures work.

    Args:
        input_shape: `(height, width, channels)` in pixels, at least 8×8.
        batch_normalization: whether to normalise before each activation; the convolutions then have no bias.
        name: name of the model.

    Returns:
        A functional `keras.Model` from `(batch, height, width, channels)` in [0, 1] to the last feature map,
        `(batch, height / 32, width / 32, 512)`, rounded down and at least 1.

    Raises:
        ValueError: for a shape that is not three whole numbers, or a picture that is too small.

    Example:

    >>> vgg16((32, 32, 3)).count_params()
    14714688
    >>> vgg16((28, 28, 1)).output_shape
    (None, 1, 1, 512)
    """
    pictures = x = keras.Input(picture_shape(input_shape, builder="vgg16", smallest=8), name="pictures")
    for number, block_filters in enumerate(_FILTERS):
        block = f"block_{number:02d}"
        for i, filters in enumerate(block_filters, start=1):
            x = keras.layers.Conv2D(
                filters,
                3,
                padding="same",
                use_bias=not batch_normalization,
                kernel_initializer="he_normal",
                name=f"{block}_conv_{i}",
            )(x)
            if batch_normalization:
                x = normalization(f"{block}_norm_{i}")(x)
            x = keras.layers.ReLU(name=f"{block}_relu_{i}")(x)
        if min(x.shape[1:3]) > 1:
            x = keras.layers.MaxPooling2D(2, name=f"{block}_pool")(x)  # (b, h/2, w/2, filters)
    return keras.Model(pictures, x, name=name)
