"""PlacedModel: the `keras.Model` whose training is the same on one device and on many replicas."""

import contextlib

import keras

from tftransfer.placement import steps
from tftransfer.placement.fused_normalization import fuse_batch_normalization, fuse_layer_normalization
from tftransfer.placement.jax_batches import laid_out
from tftransfer.placement.kernels import in_a_training_step
from tftransfer.placement.loops import steps_function, traced_anew
from tftransfer.placement.noise import adapt_noise
from tftransfer.placement.normalization import adapt_batch_normalization
from tftransfer.placement.optimizers import reduce_gradients_first
from tftransfer.placement.replicas import of_another_replica, replicas

__all__ = ["PlacedModel"]


class PlacedModel(keras.Model):
    """Base of every objective and task: a `keras.Model` that trains alike on one device and on many replicas.

    Build it inside `strategy.scope()` and use `compile`, `fit`, `evaluate` and `predict` as ever. A subclass that
    overrides `compute_loss` returns `self.scale_loss(loss)` from it; losses given to `compile`, `add_loss` and
    regularisers are scaled by Keras.

    What it cures under several replicas, where stock Keras 3 fails or is off:
    `steps_per_execution` above 1 and several machines (`loops.py`), batches that do not divide (`steps.py`), clipping
    and overflow checks (`optimizers.py`), `BatchNormalization` that still trains, which it synchronises, and layers
    that draw random numbers, which stock Keras has draw the same ones on every replica (`noise.py`).
    On one device it leaves Keras's own path alone.

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

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._distribution = None  # on JAX: what the model was built under
        if keras.backend.backend() == "jax":
            self._distribution = keras.distribution.distribution()

    def scale_loss(self, loss):
        """`loss / replicas()`: replicas add their gradients up, so each brings its share of the mean."""
        count = replicas()
        return loss if count == 1 else loss / count

    @property
    def losses(self):
        """What `add_loss` and regularisers brought in this replica."""
        return [loss for loss in super().losses if not of_another_replica(loss)]

    def _clear_losses(self):
        if not self._on_replicas:
            return super()._clear_losses()
        for layer in self._flatten_layers():  # only this replica's: others may be in the middle of their step
            layer._losses[:] = [loss for loss in layer._losses if of_another_replica(loss)]

    def scope(self):
        """Context of the strategy that the model was built under: make its optimizer and new layers inside."""
        if keras.backend.backend() == "tensorflow" and self._distribute_strategy is not None:
            return self._distribute_strategy.scope()
        return contextlib.nullcontext() if self._distribution is None else self._distribution.scope()

    def compile(self, *args, **kwargs):
        with self.scope():  # an optimizer or metric given by name is made here
            super().compile(*args, **kwargs)

    def compile_from_config(self, config):
        """Compiles as a saved model was; Keras itself leaves that out where `compile` is overridden."""
        with self.scope():
            self.compile(**keras.saving.deserialize_keras_object(config))
            if self.built and self.optimizer is not None:
                self.optimizer.build(self.trainable_variables)

    @property
    def _on_replicas(self):
        """Whether Keras's own training path is not enough."""
        if keras.backend.backend() != "tensorflow":
            return False
        import tensorflow as tf

        placed = self.distribute_strategy
        return placed.num_replicas_in_sync > 1 or isinstance(
            placed, tf.distribute.MultiWorkerMirroredStrategy
        )

    def _check_variables(self):
        """Raises where something was made outside the strategy's scope, which would train on one replica only."""
        created_in_scope = self.distribute_strategy.extended.variable_created_in_scope
        held = self.variables + self.metrics_variables + (self.optimizer.variables if self.optimizer else [])
        outside = [v.path for v in held if not created_in_scope(v.value)]
        if outside:
            raise ValueError(
                f"{len(outside)} variables of {self.name!r} were made outside the scope of its strategy "
                f"({type(self.distribute_strategy).__name__}). Received, among them: {outside[:5]}. Make backbone, "
                "model, optimizer and metrics inside `with strategy.scope():` (or `with model.scope():`), or name "
                "the optimizer and metrics by a string."
            )

    def fit(self, x=None, y=None, batch_size=None, *args, **kwargs):
        with laid_out(self._distribution, x, batch_size, warn=True):
            return super().fit(x, y, batch_size, *args, **kwargs)

    def evaluate(self, x=None, y=None, batch_size=None, *args, **kwargs):
        with laid_out(self._distribution, x, batch_size):
            return super().evaluate(x, y, batch_size, *args, **kwargs)

    def predict(self, x, batch_size=None, *args, **kwargs):
        with laid_out(self._distribution, x, batch_size):
            return super().predict(x, batch_size, *args, **kwargs)

    def predict_on_batch(self, x):
        """Outputs of one batch. Every replica computes all of it, and Keras would return the rows of each."""
        outputs = super().predict_on_batch(x)
        if not self._on_replicas:
            return outputs
        rows = len(keras.tree.flatten(x)[0])
        return keras.tree.map_structure(lambda output: output[:rows], outputs)

    def train_step(self, *args):
        if self._on_replicas:
            return steps.train_step(self, *args)
        with in_a_training_step():
            return super().train_step(*args)

    def test_step(self, *args):
        if self._on_replicas:
            return steps.test_step(self, *args)
        return super().test_step(*args)

    def make_train_function(self, force=False):
        if self.train_function is not None and not force:
            return self.train_function
        with self.scope():
            if self._on_replicas:
                adapt_batch_normalization(self)
                adapt_noise(self)
                reduce_gradients_first(self.optimizer)
            elif not self.jit_compile:  # XLA fuses by itself
                fuse_batch_normalization(self)
                fuse_layer_normalization(self)
            if self.built and not self.optimizer.built:  # inside the traced step it would be traced twice
                self.optimizer.build(self.trainable_variables)
        if keras.backend.backend() != "tensorflow":
            return super().make_train_function(force)
        self.train_function = steps_function(self, self.train_step)
        return self.train_function

    def make_test_function(self, force=False):
        if self.test_function is not None and not force:
            return self.test_function
        if keras.backend.backend() != "tensorflow":
            return super().make_test_function(force)
        self.test_function = steps_function(self, self.test_step)
        return self.test_function

    def make_predict_function(self, force=False):
        function = super().make_predict_function(force)
        self.predict_function = traced_anew(self.predict_function)
        return function

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Builds from this machine's first batch; stock Keras reduces it over the replicas, which fails."""
        if self._on_replicas:
            self._check_variables()
        if self._on_replicas and iterator is not None:
            local = self.distribute_strategy.experimental_local_results
            _, _, batches = next(iter(iterator))
            data_batch = keras.tree.map_structure(lambda v: None if v is None else local(v)[0], next(batches))
            iterator = None
        return super()._maybe_symbolic_build(iterator, data_batch)
