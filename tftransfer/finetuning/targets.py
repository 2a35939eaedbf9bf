"""What a fine-tuning run learns: batches of labelled examples, what each class counts, and the loss on them."""

import keras

from tftransfer import data as data_module
from tftransfer import placement
from tftransfer.data.dataset_batches import columns_of, is_dataset
from tftransfer.data.mixing import mixed
from tftransfer.data.shares import sliced
from tftransfer.data.weighting import weighted
from tftransfer.finetuning.checks import is_one_hot
from tftransfer.finetuning.class_weights import class_weights
from tftransfer.finetuning.smoothing import smoothed

__all__ = ["VALIDATION_BATCH", "Targets"]

VALIDATION_BATCH = 128  # no gradients are kept, so that a larger batch than in training fits


class Targets:
    """Data, loss and metrics of one `finetune` call; its arguments are those of `finetune`.

    Raises:
        ValueError: for class weights, smoothing or mixing that make no sense for the task or the data.

    Attributes:
        data: the training data; with class weights `(x, y, sample_weight)`, unless examples are mixed.
        validation: the validation data.
        one_hot: whether labels are rows `(examples, classes)` when they reach the loss.
        mixing: the layer that mixes examples, or None.
    """

    def __init__(
        self,
        task,
        data,
        validation=None,
        *,
        batch_size,
        seed=0,
        class_weight=None,
        label_smoothing=0.0,
        mixing=None,
        workers=None,
    ):
        self.workers = workers or placement.Workers()
        self.task, self.data, self.validation = task, data, validation
        self.batch_size, self.seed = batch_size, seed
        self.label_smoothing, self.mixing = label_smoothing, mixing
        self.scale = not data_module.rescales_pixels(task)
        self.one_hot = is_one_hot(data)
        self.classes = getattr(task, "num_classes", None) or getattr(task, "num_outputs", None)
        self.class_weight = self._weights(class_weight)
        if self.class_weight is not None and mixing is None:
            self.data = weighted(data, self.class_weight)
        if mixing is not None:
            self._check_mixing()
            self.one_hot = self.one_hot or not getattr(task, "is_binary", True)
        self.loss()

    def settings(self):
        """What a resumed run must have in common (JSON)."""
        layer = self.mixing
        return {
            "class_weight": str(self.class_weight),
            "label_smoothing": float(self.label_smoothing),
            "mixing": None if layer is None else [type(layer).__name__, str(_config_of(layer))],
        }

    def loss(self):
        """A fresh loss, in the scope of the task."""
        loss = self.task.default_loss(one_hot=self.one_hot)
        return smoothed(loss, self.label_smoothing)

    def metrics(self):
        """Fresh metrics."""
        return self.task.default_metrics(one_hot=self.one_hot)

    def training(self, data, shape, start=0, begun=0):
        """Batches without end: one pipeline for all epochs of a stage, its order fixed by the seed.

        Args:
            data: `self.data`, or features in the place of its examples.
            shape: shape of one example, or None.
            start: steps of the run that are done.
            begun: steps that were done when the stage began: a `tf.data.Dataset` starts with it, an array goes on.
        """
        start = start - begun if is_dataset(data) else start
        share = self.workers.share
        options = {"shuffle": True, "repeat": True, "start": start, "seed": self.seed, "input_shape": shape}
        options |= {"share": share if self.mixing is None else None}
        batches = data_module.batches(data, batch_size=self.batch_size, scale=self.scale, **options)
        if self.mixing is not None:
            options = {"num_classes": self.classes, "class_weight": self.class_weight, "seed": self.seed}
            batches = mixed(batches, self.mixing, start=start, **options)
            batches = batches if share is None else sliced(batches, share)  # mixed with the whole batch
        return self.workers.distribute(batches)

    def validating(self, data, shape):
        """Batches of validation data, with labels as those of training."""
        size = max(self.batch_size, VALIDATION_BATCH)
        batches = data_module.batches(data, batch_size=size, scale=self.scale, input_shape=shape)
        return batches if self.mixing is None else mixed(batches, num_classes=self.classes)

    def _weights(self, class_weight):
        if class_weight is None:
            return None
        if not hasattr(self.task, "num_classes"):
            raise ValueError(
                f"class_weight says what each class counts, and a {type(self.task).__name__} has no classes. Leave it "
                "out, or give the examples weights of their own: data=(x, y, sample_weight)."
            )
        if getattr(self.task, "multi_label", False):
            raise ValueError(
                "class_weight gives an example the weight of its class; with multi_label=True it may have several, or "
                "none. Leave it out, or give the examples weights of their own: data=(x, y, sample_weight)."
            )
        if _columns(self.data) > 2:
            raise ValueError(
                "class_weight, and data with sample weights (x, y, sample_weight): two weights for each example. "
                "Multiply them into one sample_weight."
            )
        return class_weights(class_weight, self.data, num_classes=self.task.num_classes)

    def _check_mixing(self):
        if not isinstance(self.mixing, keras.layers.Layer):
            raise ValueError(
                f"mixing is a Keras layer such as keras.layers.MixUp(0.2); received {self.mixing!r}."
            )
        if self.classes is None:
            raise ValueError(
                f"mixing needs to know how many classes, or outputs, {type(self.task).__name__} has: give it "
                "num_classes or num_outputs, or leave mixing out."
            )
        shape = self.task.backbone.input_shape[1:]
        self.training(self.data, shape)  # looks at what it is to mix
        if self.validation is not None:
            self.validating(self.validation, shape)


def _columns(data):
    return len(columns_of(data.element_spec)) if is_dataset(data) else len(data)


def _config_of(layer):
    return {**layer.get_config(), "name": None}
