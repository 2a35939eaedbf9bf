"""Regression: one or several numbers from an example."""

import keras

from tftransfer.layers import register
from tftransfer.tasks.task import Task, count


@register
class Regressor(Task):
    """Predicts numbers by one linear layer on a backbone's embeddings, trained on the squared error.

    Args:
        backbone: a built `keras.Model`, or the path of a self-describing `.weights.h5` file.
        num_outputs: how many numbers are predicted.
        pooling: `"auto"` (mean), `"mean"`, `"max"` or `"flatten"`.
        dropout: dropout rate between pool and head, in [0, 1).
        augmentation: a Keras layer applied to the examples while training.
        head: a Keras layer of your own from embeddings to the numbers; by default one linear layer.

    Input: a batch of examples. Output: `(batch, num_outputs)`, in the units of the labels; scale them to
    about unit variance, or the default learning rates will not suit.

    Raises:
        ValueError: when `num_outputs` is not a positive whole number, or the backbone does not serve.

    Example:

    >>> from tftransfer import backbones
    >>> task = Regressor(backbones.mlp((8,), units=(4,)))
    >>> tuple(task(keras.random.uniform((2, 8))).shape)
    (2, 1)
    """

    def __init__(
        self,
        backbone,
        num_outputs=1,
        *,
        pooling="auto",
        dropout=0.0,
        augmentation=None,
        head=None,
        **kwargs,
    ):
        super().__init__(backbone, pooling=pooling, dropout=dropout, augmentation=augmentation, **kwargs)
        self.swap_head(num_outputs, head=head)

    def swap_head(self, num_outputs=None, *, head=None):
        """Puts a fresh head on the same backbone; compile anew afterwards (`finetune` does).

        Args:
            num_outputs: how many numbers the new head predicts; by default as many as now.
            head: a Keras layer of your own from embeddings `(batch, dim)` to `(batch, num_outputs)`.

        Returns:
            The task itself.

        Raises:
            ValueError: when `num_outputs` is not a positive whole number, or `head` gives another number.
        """
        outputs = count(self.num_outputs if num_outputs is None else num_outputs, "num_outputs")
        self._set_head(outputs, head)
        self.num_outputs = outputs
        return self

    def default_loss(self, one_hot=False):
        return keras.losses.MeanSquaredError()

    def default_metrics(self, one_hot=False):
        return [keras.metrics.MeanAbsoluteError(name="mean_absolute_error")]
