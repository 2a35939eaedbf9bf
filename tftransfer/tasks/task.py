"""What every task is: backbone → pool → head, as one Keras model."""

import numbers

import keras

from tftransfer import placement, weights
from tftransfer.layers import Configured, TokenIds, are_texts, plain_ids, pool, to_ids


class Task(Configured, placement.PlacedModel):
    """Base of all tasks: a `keras.Model` over `.backbone`, `.pool` and `.head`.

    A subclass builds its head at the end of its `__init__` by `self._set_head(units, head)`, and says its
    `default_loss` and `default_metrics`.

    Args:
        backbone: a built `keras.Model`, or the path of a `.weights.h5` file that `pretrain` or
            `weights.save_backbone` wrote: then the model is rebuilt, reloaded and checked, and a receipt
            printed.
        pooling: how features become one vector: `"auto"` (mean), `"mean"`, `"max"`, `"flatten"`, or of tokens
            `"first"` or `"last"`.
        dropout: dropout rate between pool and head, in [0, 1).
        augmentation: a Keras layer applied to the examples while training, such as `layers.RandomView(...)`.

    Raises:
        ValueError: for a backbone that is not a built Keras model with features, or a file that does not hold
            one.
        OSError: when the file cannot be read.

    Example:

    >>> from tftransfer import backbones, tasks
    >>> task = tasks.Classifier(backbones.mlp((8,), units=(4,)), num_classes=3)
    >>> tuple(task.embed(keras.ops.ones((2, 8))).shape), task.swap_head(5).head.units
    ((2, 4), 5)
    """

    def __init__(self, backbone, *, pooling="auto", dropout=0.0, augmentation=None, **kwargs):
        rate = preprocessing = None
        if not isinstance(backbone, keras.Model):
            backbone, rate, preprocessing = _from_file(backbone)
        backbone = plain_ids(backbone)
        _check(backbone, type(self).__name__)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is a rate in [0, 1); received {dropout}.")
        super().__init__(**kwargs)
        self.backbone = backbone
        self.pretraining_learning_rate = rate
        self.preprocessing = preprocessing  # what the weights file says of the input, for `diagnose`
        self.pooling = pooling
        self.dropout = dropout
        self.augmentation = augmentation
        self.pool = pool(backbone.output_shape, kind=pooling)
        self.drop = keras.layers.Dropout(dropout, name="drop") if dropout else None
        self.head = None
        self.built = True  # everything is built here, so that there is no lazy state

    def default_loss(self, one_hot=False):
        """The loss that `finetune` compiles with."""
        raise NotImplementedError("A task's default_loss() returns a Keras loss.")

    def default_metrics(self, one_hot=False):
        """The metrics that `finetune` compiles with; the first one chooses the best epoch."""
        raise NotImplementedError("A task's default_metrics() returns a list of Keras metrics.")

    def _width_of(self, head):
        """Number of outputs of a head that the user made."""
        if not isinstance(head, keras.layers.Layer):
            raise ValueError(f"head is a Keras layer or model; received {type(head).__name__}.")
        width = self.pool.compute_output_shape(self.backbone.output_shape)[-1]
        return head.compute_output_shape((None, width))[-1]

    def _set_head(self, units, head):
        """Puts `head`, by default one linear layer, in the place of the old one."""
        width = self.pool.compute_output_shape(self.backbone.output_shape)[-1]
        if width is None:
            raise ValueError(
                f"The embeddings of {self.backbone.name!r} have no fixed size ({self.backbone.output_shape}), "
                f"so no head can be built on them. Use pooling='auto', or give the backbone a fixed input shape."
            )
        if head is not None and not isinstance(head, keras.layers.Layer):
            raise ValueError(f"head is a Keras layer or model; received {type(head).__name__}.")
        with self.scope():
            head = keras.layers.Dense(units, name="head") if head is None else head
            if not head.built:
                head.build((None, width))
        given = head.compute_output_shape((None, width))
        if tuple(given) != (None, units):
            raise ValueError(
                f"The head gives {tuple(given)} and the task needs (None, {units}), one row of {units} an "
                f"example. Give its last layer {units} units, or say the number to swap_head."
            )
        self._tracker.unlock()
        if self.head is not None:
            self._tracker.untrack(self.head)  # Keras goes on tracking a layer whose attribute is reassigned
        self.head = head
        self.compiled = False  # an optimizer compiled before knows nothing of the new head
        self.train_function = self.test_function = self.predict_function = None

    def embed(self, inputs, training=None):
        """Embeddings `(batch, dim)`: what the head reads. A list of texts serves where the backbone reads texts."""
        inputs = to_ids(inputs, self.backbone) if are_texts(inputs) else inputs
        return self.pool(self.backbone(inputs, training=training))

    def predict(self, x, *args, **kwargs):
        """Keras's `predict`; where the backbone reads texts, x may be a list of texts."""
        if isinstance(x, (list, tuple, dict)) or are_texts(x):
            x = self.encode(x)[0] if callable(getattr(self, "encode", None)) else to_ids(x, self.backbone)
        if isinstance(x, TokenIds):
            x = x[:, : max(int(x.lengths.max(initial=1)), 1)]
        return super().predict(x, *args, **kwargs)

    def call(self, inputs, training=None):
        if self.head is None:
            raise ValueError(
                f"The task {self.name!r} has no head yet, since nobody said how many classes there are. Call "
                "swap_head(num_classes), or let finetune read their number from the labels."
            )
        if self.augmentation is not None and training:
            inputs = self.augmentation(inputs, training=True)
        embeddings = self.embed(inputs, training=training)
        if self.drop is not None:
            embeddings = self.drop(embeddings, training=training)
        return self.head(embeddings)


def count(value, name):
    """Checks a whole number from 1 up, of Python or NumPy, and returns it as an `int`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"{name} is a whole number from 1 up; received {value!r}.")
    return int(value)


def _from_file(path):
    backbone, receipt = weights.load_backbone(path, return_receipt=True)
    print(receipt.summary)
    rate = (receipt.record.objective or {}).get("learning_rate")
    return backbone, rate, receipt.record.preprocessing


def _check(backbone, where):
    if not backbone.built or not isinstance(getattr(backbone, "output_shape", None), tuple):
        raise ValueError(
            f"{where} takes a built backbone with one output; {backbone.name!r} has no weights or no "
            f"single output yet. Give its first layer a shape (keras.Input(...)), or call backbone.build((None, ...))."
        )
