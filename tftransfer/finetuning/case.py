"""What a diagnosis looks at: a model, examples as it gets them, all labels, and the loss."""

import collections
import dataclasses

import keras
import numpy as np

from tftransfer import data as data_module
from tftransfer.data import array_batches
from tftransfer.data.batches import to_columns
from tftransfer.data.dataset_batches import is_dataset

__all__ = ["Case", "Finding", "input_shape_of", "read", "some"]

_SAMPLE = 512  # examples whose values are looked at

Finding = collections.namedtuple("Finding", "level check what advice")


@dataclasses.dataclass
class Case:
    """The patient: what the checks of `data_symptoms` and `model_symptoms` are given.

    Attributes:
        model: a task, or any built `keras.Model`.
        data: the labelled data as the user gave them.
        x: a sample of the examples, as float32 in [0, 1] for uint8 unless the model rescales by itself.
        y: all labels, or None.
        size: number of examples.
        batch_size: examples a step.
        validation: `(data, labels)`, or None.
        pretraining: what the backbone was pretrained on, or None.
        learning_rate: the rate that the backbone will move with, or None.
    """

    model: keras.Model
    data: object
    x: object
    y: np.ndarray | None
    size: int
    batch_size: int
    validation: tuple | None = None
    pretraining: object = None
    learning_rate: float | None = None

    @property
    def backbone(self):
        return getattr(self.model, "backbone", self.model)

    @property
    def head(self):
        return getattr(self.model, "head", self.model)

    @property
    def input_shape(self):
        """Shape of one example; None for a model with several inputs."""
        return input_shape_of(self.model)

    @property
    def units(self):
        """Width of the head; None where it has no single one."""
        for name in ("num_classes", "num_outputs"):
            if hasattr(self.model, name):
                return getattr(self.model, name)
        shape = getattr(self.model, "output_shape", None)
        return shape[-1] if isinstance(shape, tuple) and len(shape) == 2 else None

    @property
    def rows_of_labels(self):
        """Whether the labels are rows `(examples, classes)`."""
        return self.y is not None and self.y.ndim == 2 and self.y.shape[1] > 1

    @property
    def loss(self):
        """`(kind, from_logits)` of the compiled loss, or of the task's own.

        kind is "sparse", "categorical", "binary", or None for what is no cross-entropy; from_logits is None
        where a function of the user's does not say.
        """
        loss = self.model.loss if self.model.compiled else None
        if loss is None and hasattr(self.model, "default_loss"):
            loss = self.model.default_loss(one_hot=self.rows_of_labels)
        name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
        name = name.lower().replace("_", "")
        kind = next((word for word in ("sparse", "categorical", "binary") if word in name), None)
        if kind is None or "entropy" not in name:
            return None, None
        if isinstance(loss, keras.losses.Loss):
            own = getattr(loss, "from_logits", False)
            return kind, bool(loss.get_config().get("from_logits", own))
        stock = isinstance(loss, str) or getattr(keras.losses, getattr(loss, "__name__", ""), None) is loss
        return kind, False if stock else None


def input_shape_of(model):
    """Shape of one example; None for a model with several inputs, or none that is known."""
    shape = getattr(getattr(model, "backbone", model), "input_shape", None)
    return shape[1:] if isinstance(shape, tuple) else None


def read(data, model, batch_size):
    """What is needed of labelled data, from at most one pass over it: `(x, y, size, batch_size)`.

    Args:
        data: arrays, a pair, or a `tf.data.Dataset` with an end.
        model: the model that reads them.
        batch_size: examples a step, unless the dataset has batches of its own.
    """
    scale = not data_module.rescales_pixels(model)
    if not is_dataset(data):
        columns, size = to_columns(data)
        rows = np.unique(np.linspace(0, size - 1, min(size, _SAMPLE)).astype(int))

        def sample(value):
            return array_batches.to_float(value[rows]) if scale else value[rows]

        (x,) = array_batches.map_features(sample, columns[:1])
        return x, columns[1] if len(columns) > 1 else None, size, batch_size
    if int(data.cardinality()) == -1:
        raise ValueError("the data has no end: the tf.data.Dataset was repeated. Leave .repeat() out.")
    options = {"scale": scale, "input_shape": input_shape_of(model)}
    x, labels, size = None, [], 0
    for batch in data_module.batches(data, batch_size=batch_size, **options):
        batch = keras.tree.map_structure(np.asarray, batch if isinstance(batch, tuple) else (batch,))
        rows = len(keras.tree.flatten(batch[0])[0])
        if x is None:
            x, batch_size = batch[0], rows
        labels += [batch[1]] if len(batch) > 1 else []
        size += rows
    if x is None:
        raise ValueError("the data is empty: the tf.data.Dataset yields nothing. Check what it is made from.")
    return x, np.concatenate(labels) if labels else None, size, batch_size


def some(items, limit=5):
    """The first items in words, and how many there are."""
    items = list(items)
    more = f", ... ({len(items)} in all)" if len(items) > limit else ""
    return ", ".join(str(item) for item in items[:limit]) + more
