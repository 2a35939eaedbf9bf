"""Classification of an example: binary, multi-class or multi-label."""

import keras
from keras import ops

from tftransfer.layers import register
from tftransfer.tasks.task import Task, count


@register
class Classifier(Task):
    """Tells classes apart by one linear layer on a backbone's embeddings; its outputs are logits.

    Multi-class (`num_classes ≥ 2`, integer or one-hot labels): `softmax` of the logits gives probabilities.
    Binary (`num_classes=1`, labels 0 and 1) and multi-label (`multi_label=True`, labels `(batch,
    num_classes)` of 0 and 1): `sigmoid` does. `probabilities(logits)` picks the right one.

    Args:
        backbone: a built `keras.Model`, or the path of a self-describing `.weights.h5` file.
        num_classes: number of classes; 1 for a single logit. None takes that of `head`, or, without one, leaves
            the task without a head: `finetune` reads the number from the labels, or call `swap_head`.
        multi_label: whether an example may belong to several classes.
        pooling: `"auto"` (mean), `"mean"`, `"max"`, `"flatten"`, or of tokens `"first"` or `"last"`.
        dropout: dropout rate between pool and head, in [0, 1).
        augmentation: a Keras layer applied to the examples while training.
        head: a Keras layer of your own from embeddings to logits; by default one linear layer.

    Input: a batch of examples. Output: logits `(batch, num_classes)`.

    Raises:
        ValueError: when `num_classes` is not a positive whole number, or the backbone does not serve.

    Example:

    >>> from tftransfer import backbones
    >>> task = Classifier(backbones.mlp((8,), units=(4,)), num_classes=3)
    >>> tuple(task(keras.random.uniform((2, 8))).shape)
    (2, 3)
    """

    def __init__(
        self,
        backbone,
        num_classes=None,
        *,
        multi_label=False,
        pooling="auto",
        dropout=0.0,
        augmentation=None,
        head=None,
        **kwargs,
    ):
        super().__init__(backbone, pooling=pooling, dropout=dropout, augmentation=augmentation, **kwargs)
        self.multi_label = multi_label
        self.num_classes = None
        if num_classes is not None or head is not None:
            self.swap_head(self._width_of(head) if num_classes is None else num_classes, head=head)

    def swap_head(self, num_classes=None, *, head=None):
        """Puts a fresh head on the same backbone; compile anew afterwards (`finetune` does).

        Args:
            num_classes: number of classes of the new head; by default as many as now.
            head: a Keras layer of your own from embeddings `(batch, dim)` to logits `(batch, num_classes)`.

        Returns:
            The task itself.

        Raises:
            ValueError: when `num_classes` is not a positive whole number, or `head` gives another number.
        """
        classes = count(self.num_classes if num_classes is None else num_classes, "num_classes")
        self._set_head(classes, head)
        self.num_classes = classes
        return self

    @property
    def is_binary(self):
        """Whether each logit is a yes or no of its own (sigmoid), not one class of several (softmax)."""
        return self.multi_label or self.num_classes == 1

    def probabilities(self, logits):
        """Logits `(batch, num_classes)` to probabilities of the same shape."""
        return ops.sigmoid(logits) if self.is_binary else ops.softmax(logits)

    def default_loss(self, one_hot=False):
        if self.is_binary:
            return keras.losses.BinaryCrossentropy(from_logits=True)
        if one_hot:
            return keras.losses.CategoricalCrossentropy(from_logits=True)
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def default_metrics(self, one_hot=False):
        if self.is_binary:
            return [keras.metrics.BinaryAccuracy(threshold=0.0, name="accuracy")]  # logits: 0 is the middle
        if one_hot:
            return [keras.metrics.CategoricalAccuracy(name="accuracy")]
        return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
