"""The small perceptron between embeddings and the loss of joint-embedding objectives."""

import keras

from tftransfer.layers.normalization import batch_normalization


def projector(input_width, *, widths, normalize_last=False, name="projector"):
    """Builds a perceptron `Dense → BatchNorm → ReLU → … → Dense`, thrown away after pretraining.

    Reference: Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, 2020,
    https://arxiv.org/abs/2002.05709 (section 4.2: why there is one)

    Args:
        input_width: size of an embedding.
        widths: sizes of the layers, the last one that of a projection.
        normalize_last: whether a BatchNorm follows the last layer as well.
        name: the model's name.

    Returns:
        A built `keras.Sequential` from `(batch, input_width)` to `(batch, widths[-1])`.

    Example:

    >>> projector(64, widths=(64, 32)).output_shape
    (None, 32)
    """
    model = keras.Sequential([keras.Input((input_width,), name="embeddings")], name=name)
    for i, width in enumerate(widths):
        last = i == len(widths) - 1
        normalized = not last or normalize_last
        model.add(keras.layers.Dense(width, use_bias=not normalized, name=f"dense_{i}"))
        if normalized:
            model.add(batch_normalization(f"norm_{i}"))
        if not last:
            model.add(keras.layers.ReLU(name=f"relu_{i}"))
    return model
