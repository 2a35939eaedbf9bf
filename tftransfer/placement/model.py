"""PlacedModel: the `keras.Model` whose training is the same on one device and on many replicas."""

import keras

from tftransfer.placement.replicas import replicas

__all__ = ["PlacedModel"]


class PlacedModel(keras.Model):
    """Base of every objective and task: a `keras.Model` that trains alike on one device and on many replicas.

    Build it inside `strategy.scope()` and use `compile`, `fit`, `evaluate` and `predict` as ever. A subclass that
    overrides `compute_loss` returns `self.scale_loss(loss)` from it; losses given to `compile`, `add_loss` and
    regularisers are scaled by Keras.

    Example:
        >>> import keras, tftransfer as tt
        >>> class Distance(tt.placement.PlacedModel):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.dense = keras.layers.Dense(3)
        ...     def call(self, x):
        ...         return self.dense(x)
        ...     def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        ...         return self.scale_loss(keras.ops.mean((y_pred - x) ** 2))
        >>> model = Distance()
        >>> model.compile("sgd")
        >>> history = model.fit(keras.ops.ones((8, 3)), verbose=0)
    """

    def scale_loss(self, loss):
        """`loss / replicas()`: replicas add their gradients up, so each brings its share of the mean."""
        count = replicas()
        return loss if count == 1 else loss / count
