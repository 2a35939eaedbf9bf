"""What the optimizer sees under replicas is the gradient of the global batch."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tftransfer import placement


class Reconstruction(placement.PlacedModel):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(6, dtype=self.dtype_policy)

    def build(self, input_shape):
        self.dense.build(input_shape)

    def call(self, x):
        return self.dense(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return self.scale_loss(ops.mean(ops.square(ops.cast(y_pred, "float32") - x)))


def adamw():
    return keras.optimizers.AdamW(0.1, weight_decay=0.1, clipnorm=0.02)


def two_groups():
    groups = keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.1, global_clipnorm=0.05))
    groups[".*bias"] = keras.optimizers.SGD(0.5, clipvalue=0.01)
    return keras.optimizers.MultiOptimizer(groups)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.SGD(0.5, clipnorm=0.05),
        lambda: keras.optimizers.SGD(0.5, global_clipnorm=0.05),
        adamw,
        lambda: keras.optimizers.Adam(0.01, use_ema=True),
        two_groups,
    ],
    ids=["clipnorm", "global_clipnorm", "adamw", "ema", "two groups"],
)
def test_clipping_and_the_rest_after_the_sum(one_device, mirrored, train, assert_same, examples, optimizer):
    if optimizer is two_groups and not hasattr(keras.optimizers, "MultiOptimizer"):
        pytest.skip("MultiOptimizer came with Keras 3.15")
    x = examples[0] * np.linspace(0.1, 3, 45, dtype="float32")[:, None]  # replicas' gradients differ in size
    assert_same(*[train(s, Reconstruction, x, optimizer=optimizer)[0] for s in (one_device, mirrored)])


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.SGD(0.5, momentum=0.9, global_clipnorm=0.05, gradient_accumulation_steps=2),
        lambda: keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(0.1, 9),
            weight_decay=0.1,
            gradient_accumulation_steps=3,
            use_ema=True,
            ema_momentum=0.8,
        ),
    ],
    ids=["clipped momentum", "AdamW with averages"],
)
def test_accumulated_gradients(one_device, mirrored, train, assert_same, examples, optimizer):
    """Nine batches make four updates of two and three of three; what is left over waits for its group."""
    both = [
        train(s, Reconstruction, examples[0], optimizer=optimizer, epochs=3) for s in (one_device, mirrored)
    ]
    assert_same(both[0][0], both[1][0])
    for one, two in zip(both[0][0].optimizer.variables, both[1][0].optimizer.variables, strict=True):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(two), atol=1e-5
        )


@pytest.mark.parametrize(
    ("optimizer", "option"),
    [
        (lambda: keras.optimizers.Adam(use_ema=True, ema_overwrite_frequency=4), "ema_overwrite_frequency"),
        (lambda: keras.optimizers.Nadam(gradient_accumulation_steps=4), "gradient_accumulation_steps"),
        (
            lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(gradient_accumulation_steps=4)),
            "gradient_accumulation_steps",
        ),
    ],
)
def test_what_replicas_cannot_do_is_refused(mirrored, train, examples, optimizer, option):
    with pytest.raises(ValueError, match=rf"{option} does not work on several replicas.*{option}=4"):
        train(mirrored, Reconstruction, examples[0], optimizer=optimizer)


def test_overflow_on_one_replica_skips_the_step_on_all(mirrored, train, examples):
    """float16 gradients of the second replica overflow in the first step; stock Keras asks the first replica only."""
    x = examples[0][:32].copy()
    x[8:16] *= 1e4  # rows of the second replica in the first batch
    made = []

    def optimizer():
        made.append(keras.optimizers.SGD(0.01))
        return keras.optimizers.LossScaleOptimizer(made[0], initial_scale=2.0**14)

    def build():
        return Reconstruction(dtype="mixed_float16")

    model, _ = train(mirrored, build, x, optimizer=optimizer, epochs=1)
    assert all(np.isfinite(w).all() for w in model.get_weights())
    scales = mirrored.experimental_local_results(model.optimizer.dynamic_scale.value)
    assert [float(s) for s in scales] == [2.0**13] * 2
    assert made[0].iterations.numpy() == 1


def test_gradient_bytes_are_sent_once(mirrored, train, examples):
    """Counts what all-reduce operations of the compiled step carry, against the size of the gradients."""
    model, _ = train(mirrored, Reconstruction, examples[0][:32], optimizer=adamw, epochs=1)
    import tensorflow as tf

    sent = []
    stock = tf.distribute.ReplicaContext.all_reduce

    def counting(self, op, value, *args, **kwargs):
        sent.extend(v.shape.num_elements() or 1 for v in keras.tree.flatten(value))
        return stock(self, op, value, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.distribute.ReplicaContext, "all_reduce", counting)
        model.make_train_function(force=True)
        data = tf.data.Dataset.from_tensor_slices(examples[0][:32]).batch(16, drop_remainder=True)
        model.fit(data, shuffle=False, verbose=0)
    gradients = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    traces = sent.count(6)  # the bias
    assert gradients * traces <= sum(sent) <= 1.05 * gradients * traces
