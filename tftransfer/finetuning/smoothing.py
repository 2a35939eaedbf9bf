"""Label smoothing for any cross-entropy of Keras, also for class numbers, which Keras leaves out."""

import keras
from keras import ops

from tftransfer.layers import TokenCrossentropy, register

__all__ = ["SparseSmoothedCrossentropy", "smoothed"]


@register
class SparseSmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy of class numbers against smoothed targets, from logits.

    The target is `1 − ε + ε / K` for the labelled class and `ε / K` for each other of K, so that no logit is
    pushed to infinity: `(1 − ε) · CE(y, p) − ε / K · Σ_k log p_k`. The same as
    `keras.losses.CategoricalCrossentropy(label_smoothing=ε)` on one-hot rows.

    Reference: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016 (section 7),
    https://arxiv.org/abs/1512.00567

    Args:
        label_smoothing: ε in [0, 1).
        reduction, name, dtype: as for every Keras loss.

    Shapes: labels `(batch,)` or `(batch, 1)`, logits `(batch, classes)`.

    Example:

    >>> loss = SparseSmoothedCrossentropy(0.1)
    >>> round(float(loss([0], [[2.0, 0.0]])), 4)
    0.2269
    """

    def __init__(
        self, label_smoothing=0.1, *, reduction="sum_over_batch_size", name="crossentropy", dtype=None
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.label_smoothing = _checked(label_smoothing)

    from_logits = True

    def call(self, y_true, y_pred):
        y_pred = ops.convert_to_tensor(y_pred)
        classes = y_pred.shape[-1]
        rows = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), classes)  # (batch, classes)
        return keras.losses.categorical_crossentropy(
            ops.cast(rows, y_pred.dtype), y_pred, from_logits=True, label_smoothing=self.label_smoothing
        )

    def get_config(self):
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


def smoothed(loss, label_smoothing):
    """The same loss with label smoothing.

    Args:
        loss: a task's default loss: (sparse) categorical or binary cross-entropy.
        label_smoothing: ε in [0, 1); 0 gives the loss itself. Binary targets become `y (1 − ε) + ε / 2`.

    Returns:
        A `keras.losses.Loss`.

    Raises:
        ValueError: for ε out of range, or a loss that is no cross-entropy (there is nothing to smooth).

    Example:

    >>> type(smoothed(keras.losses.SparseCategoricalCrossentropy(from_logits=True), 0.1)).__name__
    'SparseSmoothedCrossentropy'
    """
    if not _checked(label_smoothing):
        return loss
    if isinstance(loss, keras.losses.SparseCategoricalCrossentropy):
        config = loss.get_config()
        if config["from_logits"] and config["ignore_class"] is None and config.get("axis", -1) == -1:
            return SparseSmoothedCrossentropy(
                label_smoothing, reduction=config["reduction"], name=config["name"]
            )
    elif isinstance(
        loss, (keras.losses.CategoricalCrossentropy, keras.losses.BinaryCrossentropy, TokenCrossentropy)
    ):
        return type(loss).from_config({**loss.get_config(), "label_smoothing": label_smoothing})
    raise ValueError(
        f"label_smoothing smooths a cross-entropy of classes, from logits; received {loss!r}. Leave it out."
    )


def _checked(label_smoothing):
    number = isinstance(label_smoothing, (int, float)) and not isinstance(label_smoothing, bool)
    if not number or not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing lies in [0, 1); received {label_smoothing!r}.")
    return float(label_smoothing)
