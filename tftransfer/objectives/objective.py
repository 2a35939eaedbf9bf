"""What every pretraining objective is: a Keras model whose loss needs no labels."""

import keras

from tftransfer import placement
from tftransfer.layers import Configured, StepCount, plain_ids


class Objective(Configured, placement.PlacedModel):
    """Base of all pretraining objectives: a `keras.Model` that holds a backbone and knows its own loss.

    Any Keras `fit` trains it: labels are ignored, and the loss is right under every `tf.distribute` strategy.
    A subclass says two things: `call(inputs, training)` returns a dict of tensors, and
    `compute_objective(outputs)` turns that dict into a scalar. It takes a plain batch of examples and does its
    masking, noise or views inside the graph, or takes the dict of what it reads, made beforehand.

    Args:
        backbone: any built `keras.Model` from examples to features: a vector `(batch, dim)`, a sequence
            `(batch, tokens, dim)` or a map `(batch, height, width, channels)`.

    Raises:
        ValueError: when `backbone` is not a built Keras model with such features.

    Example:

    >>> from tftransfer.objectives import Autoencoder
    >>> backbone = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    >>> objective = Autoencoder(backbone)
    >>> objective.compile("adam")
    >>> history = objective.fit(keras.random.uniform((16, 8)), verbose=0)
    """

    default_learning_rate = 1e-3  # of AdamW, at its peak; a subclass may know better
    default_momentum = 0.9  # AdamW's β₁
    default_weight_decay = 1e-4  # or (start, end) of a cosine over the run
    value_range = None  # least and greatest value that an example may have, where it matters

    def __init__(self, backbone, **kwargs):
        backbone = plain_ids(backbone)
        check_backbone(backbone, type(self).__name__)
        super().__init__(**kwargs)
        self.backbone = backbone
        self.built = True  # subclasses build their parts in __init__, so that there is no lazy state

    def call(self, inputs, training=None):
        raise NotImplementedError("An objective's call(inputs, training) returns a dict of tensors.")

    def plan(self, steps):
        """Says how many steps the whole run has, for schedules inside the step (`pretrain` does it).

        Teacher momentum, teacher temperature and the like stay at their start without it.
        """
        for layer in self._flatten_layers(include_self=False):
            if isinstance(layer, StepCount):
                layer.plan(steps)

    def compute_objective(self, outputs):
        """The loss: a float32 scalar, the mean over the examples of this replica.

        Args:
            outputs: the dict that `call` returned.
        """
        raise NotImplementedError("An objective's compute_objective(outputs) returns a scalar.")

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = self.compute_objective(y_pred)
        for extra in self.losses:  # regularisers and add_loss of the backbone
            loss = loss + keras.ops.cast(extra, "float32")
        return self.scale_loss(loss)


def check_backbone(backbone, where):
    """Raises a `ValueError` unless `backbone` is a built Keras model with features that can be pooled."""
    if not isinstance(backbone, keras.Model):
        raise ValueError(
            f"{where} takes a keras.Model as backbone; received {type(backbone).__name__}. "
            f"Build one with tftransfer.backbones, or pass your own Sequential or functional model."
        )
    if not backbone.built:
        raise ValueError(
            f"{where} takes a built backbone; {backbone.name!r} has no weights yet. Give its first layer a shape "
            f"(keras.Input(...)) or call backbone.build((None, ...))."
        )
    try:
        rank, outputs = len(backbone.output_shape), backbone.output_shape
    except (AttributeError, TypeError):
        rank, outputs = None, "unknown"
    single = isinstance(outputs, tuple) and not any(isinstance(n, (tuple, list, dict)) for n in outputs)
    single = single and not isinstance(
        getattr(backbone, "output", None), (dict, list)
    )  # of one entry, to Keras the same
    if not single or rank not in (2, 3, 4):
        raise ValueError(
            f"{where} takes a backbone with one output: a vector (batch, dim), tokens (batch, tokens, dim) or a map "
            f"(batch, height, width, channels); {backbone.name!r} gives {outputs}. Wrap it in a functional model: "
            f"keras.Model(inputs, features)."
        )
