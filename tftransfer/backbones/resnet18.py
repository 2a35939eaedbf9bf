"""ResNet-18."""

from tftransfer.backbones.residual import residual_network


def resnet18(input_shape, *, stem="auto", name="resnet18"):
    """Builds a residual network of 18 layers: eight blocks of two 3×3 convolutions, without the classifier.

    The usual backbone for pictures of 32 to 96 pixels, where a GPU is at hand. 11.17 million trainable
    parameters with the 32-pixel stem, 11.18 million with the 224-pixel one.

    Reference: He et al., Deep Residual Learning for Image Recognition, 2015,
    https://arxiv.org/abs/1512.03385; the 32-pixel stem: Chen et al., A Simple Framework for Contrastive
    Learning, 2020, appendix B.9, https://arxiv.org/abs/2002.05709
    Differs from it in: the momentum of batch normalisation is 0.9 (see `layers.batch_normalization`).

    Args:
        input_shape: `(height, width, channels)` in pixels; at least 8×8 with the 32-pixel stem, else 32×32.
        stem: `"32"`: one 3×3 convolution that keeps the size; `"224"`: 7×7 with stride 2 and max pooling, a
            quarter of the size; `"auto"`: the first for pictures below 64 pixels, else the second.
        name: name of the model.

    Returns:
        A functional `keras.Model` from `(batch, height, width, channels)` in [0, 1] to the last feature map,
        `(batch, height / 8, width / 8, 512)` with the 32-pixel stem, `/ 32` with the other (rounded up).

    Raises:
        ValueError: for another stem, a shape that is not three whole numbers, or a picture that is too small.

    Example:

    >>> import math
    >>> model = resnet18((32, 32, 3))
    >>> model.output_shape
    (None, 4, 4, 512)
    >>> sum(math.prod(variable.shape) for variable in model.trainable_variables)
    11168832
    """
    return residual_network(input_shape, blocks=(2, 2, 2, 2), bottleneck=False, stem=stem, name=name)
