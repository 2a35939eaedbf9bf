"""The residual network that `resnet18` and `resnet50` are two sizes of."""

import keras

from tftransfer.backbones.shapes import picture_shape
from tftransfer.layers import batch_normalization

_SMALLEST = {"32": 8, "224": 32}


def residual_network(input_shape, *, blocks, bottleneck, stem, name):
    """Builds a residual network without classifier; the public builders choose the numbers.

    Args:
        input_shape: `(height, width, channels)` in pixels.
        blocks: number of residual blocks in each of the four stages (64, 128, 256 and 512 filters).
        bottleneck: whether a block is 1×1, 3×3, 1×1 with four times the filters at its end, or two 3×3.
        stem: `"auto"`, `"32"` or `"224"`.
        name: name of the model and of the builder.

    Raises:
        ValueError: for another stem, a bad shape, or a picture that the stem would shrink to nothing.

    Example:

    >>> residual_network((16, 16, 1), blocks=(1, 1), bottleneck=False, stem="32", name="tiny").output_shape
    (None, 8, 8, 128)
    """
    if stem not in ("auto", "32", "224"):
        raise ValueError(
            f'{name} takes stem="32" (3×3, stride 1), stem="224" (7×7, stride 2, pooling) or stem="auto" '
            f"(the first below 64 pixels); received {stem!r}. Choose one of the three strings."
        )
    shape = picture_shape(input_shape, builder=name)
    if stem == "auto":
        stem = "32" if min(shape[:2]) < 64 else "224"
    shape = picture_shape(shape, builder=f'{name} with stem="{stem}"', smallest=_SMALLEST[stem])

    pictures = keras.Input(shape, name="pictures")
    if stem == "32":
        x = _conv_norm(pictures, 64, 3, 1, "stem_conv", "stem_norm")  # (b, h, w, 64)
        x = keras.layers.ReLU(name="stem_relu")(x)
    else:
        x = _conv_norm(pictures, 64, 7, 2, "stem_conv", "stem_norm")  # (b, h/2, w/2, 64)
        x = keras.layers.ReLU(name="stem_relu")(x)
        x = keras.layers.MaxPooling2D(3, 2, padding="same", name="stem_pool")(x)  # (b, h/4, w/4, 64)
    number = 0
    for stage, repeats in enumerate(blocks):
        for repeat in range(repeats):
            strides = 2 if stage > 0 and repeat == 0 else 1
            x = _block(x, 64 * 2**stage, strides, bottleneck, f"block_{number:02d}")
            number += 1
    return keras.Model(pictures, x, name=name)


def _conv_norm(x, filters, kernel_size, strides, conv_name, norm_name):
    x = keras.layers.Conv2D(
        filters,
        kernel_size,
        strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=conv_name,
    )(x)
    return batch_normalization(norm_name)(x)


def _block(x, filters, strides, bottleneck, name):
    """`relu(x + f(x))`; the shortcut is a 1×1 convolution where the shape changes (option B of the paper)."""
    shape = [(1, 1, filters), (3, strides, filters), (1, 1, 4 * filters)]  # kernel, stride, filters
    if not bottleneck:
        shape = [(3, strides, filters), (3, 1, filters)]
    shortcut, width = x, shape[-1][-1]
    if strides > 1 or x.shape[-1] != width:
        shortcut = _conv_norm(x, width, 1, strides, f"{name}_shortcut_conv", f"{name}_shortcut_norm")
    for i, (kernel_size, stride, width) in enumerate(shape, start=1):
        x = _conv_norm(x, width, kernel_size, stride, f"{name}_conv_{i}", f"{name}_norm_{i}")
        if i == len(shape):
            x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
        x = keras.layers.ReLU(name=f"{name}_relu_{i}")(x)
    return x
