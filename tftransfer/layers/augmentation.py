"""One random view of each picture: crop, resize, flip and colour, fused into two matrix products."""

import keras
from keras import ops

from tftransfer import placement
from tftransfer.layers.config import Configured, register

GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601 luma


@register
class RandomView(Configured, keras.layers.Layer):
    """A random resized crop, mirrored and recoloured, of every picture of a batch.

    Crop, resizing and mirroring are one product with a row matrix and one with a column matrix (bilinear
    weights); brightness, contrast and saturation are one affine change of the pixels. Nothing here keeps XLA
    from compiling the step, and the random numbers are those of the global batch, so that N replicas see what
    one device would see.

    Reference: Szegedy et al., Going Deeper with Convolutions, 2014, https://arxiv.org/abs/1409.4842 (the
    crop) and Chen et al., SimCLR, 2020, https://arxiv.org/abs/2002.05709 (the colours)
    Differs from it in: no hue and no blur; brightness, contrast and saturation are applied in this order.

    Args:
        crop_scale: least and greatest share of the picture's area that a crop keeps, in (0, 1].
        crop_ratio: least and greatest width / height of a crop.
        flip: whether half of the views are mirrored left to right (not for digits and letters).
        color_jitter: strength of brightness, contrast and saturation, in [0, 1]; 0.8 of the views get it.
        grey: share of the views of a colour picture that lose their colour, in [0, 1].
        value_range: least and greatest value of a pixel; results are clipped to it.
        seed: seed of the layer's own random numbers.

    Input and output shape: `(batch, height, width, channels)`, float; whole numbers are taken, and made float, where
    `value_range` is that of bytes.

    Raises:
        ValueError: when a range is empty or outside its bounds, or the input is not a batch of such pictures of one
            size.

    Example:

    >>> view = RandomView(flip=False, seed=1)
    >>> tuple(view(keras.ops.ones((2, 8, 8, 1))).shape)
    (2, 8, 8, 1)
    """

    def __init__(
        self,
        crop_scale=(0.2, 1.0),
        crop_ratio=(0.75, 4 / 3),
        flip=True,
        color_jitter=0.4,
        grey=0.2,
        value_range=(0.0, 1.0),
        seed=0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not 0 < crop_scale[0] <= crop_scale[1] <= 1:
            raise ValueError(
                f"crop_scale must be two shares in (0, 1], the least first; received {crop_scale}."
            )
        if not 0 < crop_ratio[0] <= crop_ratio[1]:
            raise ValueError(
                f"crop_ratio must be two positive numbers, the least first; received {crop_ratio}."
            )
        if not (0 <= color_jitter <= 1 and 0 <= grey <= 1):
            raise ValueError(f"color_jitter and grey lie in [0, 1]; received {color_jitter} and {grey}.")
        if not value_range[0] < value_range[1]:
            raise ValueError(f"value_range must be two numbers, the least first; received {value_range}.")
        self.crop_scale = tuple(crop_scale)
        self.crop_ratio = tuple(crop_ratio)
        self.flip = flip
        self.color_jitter = color_jitter
        self.grey = grey
        self.value_range = tuple(value_range)
        self.seed = seed
        self.random = keras.random.SeedGenerator(seed)

    def build(self, input_shape):
        if len(input_shape) != 4:
            raise ValueError(
                f"RandomView takes pictures (batch, height, width, channels); received shape "
                f"{tuple(input_shape)}. For other data give the objective an augmentation layer of its own."
            )
        if None in input_shape[1:]:
            raise ValueError(
                f"RandomView takes pictures of one fixed size; received shape {tuple(input_shape)}. Resize "
                f"them."
            )

    def call(self, images, training=True):
        if not training:
            return images
        if not keras.backend.is_float_dtype(images.dtype) and self.value_range[1] > 1:
            images = ops.cast(images, self.compute_dtype)
        if not keras.backend.is_float_dtype(images.dtype):
            raise ValueError(
                f"RandomView takes float pictures in {self.value_range}; received {images.dtype}. Cast them, "
                f"and divide pictures of uint8 by 255."
            )
        draws = placement.per_example(
            lambda n: keras.random.uniform((n, 11), dtype="float32", seed=self.random), ops.shape(images)[0]
        )
        dtype = images.dtype
        views = self._recolor(self._crop(ops.cast(images, "float32"), draws), draws)
        return ops.cast(views, dtype)

    def _crop(self, images, draws):
        _, h, w, c = images.shape
        area = self.crop_scale[0] + draws[:, 0] * (self.crop_scale[1] - self.crop_scale[0])
        low, high = ops.log(self.crop_ratio[0]), ops.log(self.crop_ratio[1])
        root = ops.exp(0.5 * (low + draws[:, 1] * (high - low)))  # square root of width / height
        share_w = ops.minimum(ops.sqrt(area) * root, 1.0)  # (b,)
        share_h = ops.minimum(ops.sqrt(area) / root, 1.0)
        mirrored = draws[:, 4] < 0.5 if self.flip else None
        rows = _sampling_matrix(h, draws[:, 2] * (1 - share_h), share_h)  # (b, h, h)
        columns = _sampling_matrix(w, draws[:, 3] * (1 - share_w), share_w, mirrored)  # (b, w, w)
        x = ops.matmul(rows, ops.reshape(images, (-1, h, w * c)))  # (b, h, w·c)
        x = ops.transpose(ops.reshape(x, (-1, h, w, c)), (0, 2, 1, 3))  # (b, w, h, c)
        x = ops.matmul(columns, ops.reshape(x, (-1, w, h * c)))  # (b, w, h·c)
        return ops.transpose(ops.reshape(x, (-1, w, h, c)), (0, 2, 1, 3))  # (b, h, w, c)

    def _recolor(self, images, draws):
        channels = images.shape[-1]
        if not self.color_jitter and not (self.grey and channels == 3):
            return images
        draws = draws[:, :, None, None, None]  # (b, draws, 1, 1, 1)
        jittered = ops.cast(draws[:, 5] < 0.8, "float32")

        def factor(i):
            return 1 + jittered * self.color_jitter * (2 * draws[:, i] - 1)  # (b, 1, 1, 1)

        gain = factor(6) * factor(7)
        luma = (
            images if channels != 3 else ops.sum(images * ops.convert_to_tensor(GREY), axis=-1, keepdims=True)
        )
        mean = ops.mean(luma, axis=(1, 2, 3), keepdims=True)
        offset = factor(6) * (1 - factor(7)) * mean
        if channels == 3:
            saturation = ops.where(draws[:, 9] < self.grey, 0.0, factor(8))
            images = saturation * images + (1 - saturation) * luma
        return ops.clip(gain * images + offset, *self.value_range)

    def compute_output_shape(self, input_shape):
        return input_shape


def _sampling_matrix(size, start, share, mirrored=None):
    """Bilinear weights `(batch, size, size)` that read `size` places from `[start, start + share]`."""
    places = (ops.arange(size, dtype="float32") + 0.5) / size  # (size,)
    if mirrored is not None:
        places = ops.where(mirrored[:, None], 1 - places, places)  # (b, size)
    source = (start[:, None] + places * share[:, None]) * size - 0.5
    source = ops.clip(source, 0.0, size - 1.0)
    return ops.relu(1 - ops.abs(source[:, :, None] - ops.arange(size, dtype="float32")))
