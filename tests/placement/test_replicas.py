"""Gathering rows and drawing random numbers across replicas."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tftransfer import placement
from tftransfer.placement.replicas import rows_before_and_total

COMPUTE = pytest.mark.compute


def info_nce(own, everyone, before, temperature=0.5):
    """Mean over own rows of -log softmax of the positive (row i and row i ^ 1 are a pair) among all other rows."""
    rows, total = ops.shape(own)[0], ops.shape(everyone)[0]
    logits = ops.matmul(own, ops.transpose(everyone)) / temperature  # (rows, total)
    index = ops.arange(rows, dtype="int32") + before
    logits = logits - 1e9 * ops.one_hot(index, total, dtype=logits.dtype)
    pair = index + 1 - 2 * (index % 2)
    losses = ops.sparse_categorical_crossentropy(pair, logits, from_logits=True)  # (rows,)
    return ops.sum(losses) / ops.cast(ops.maximum(rows, 1), losses.dtype)


def value_and_gradient(strategy, kernel, x, shares):
    """Loss and gradient summed over replicas, where replica `r` holds `shares[r]` of the rows of `x`."""
    import tensorflow as tf

    starts = np.cumsum([0, *shares])
    with strategy.scope():
        weight = keras.Variable(kernel, dtype="float64")

    def step(rows):
        rows = tf.compat.v1.placeholder_with_default(rows, (None, 12))  # as in a last batch, of unknown size
        with tf.GradientTape() as tape:
            z = tf.math.l2_normalize(tf.tanh(tf.matmul(rows, weight.value)), -1)
            before, total = rows_before_and_total(tf.shape(z)[0])
            everyone = placement.all_gather(z)
            loss = info_nce(z, everyone, before) * tf.cast(tf.shape(z)[0] / total, "float64")
        own = tape.gradient(loss, weight.value)
        context = tf.distribute.get_replica_context()
        return [*context.all_reduce("SUM", [loss, own]), everyone, tf.reshape(before, (1,))]

    def rows_of(context):
        replica = context.replica_id_in_sync_group
        return tf.constant(x[starts[replica] : starts[replica + 1]])

    spread = strategy.experimental_distribute_values_from_function
    values = spread(rows_of) if len(shares) > 1 else tf.constant(x)
    results = tf.function(lambda v: strategy.run(step, args=(v,)))(values)
    return [strategy.experimental_local_results(r) for r in results]


@pytest.mark.parametrize("shares", [(4, 4), (5, 3), (8, 0)])
def test_all_gather_has_the_exact_gradient(one_device, mirrored, shares):
    random = np.random.default_rng(0)
    kernel, x = random.standard_normal((12, 6)), random.standard_normal((8, 12))
    loss, own, everyone, _ = value_and_gradient(one_device, kernel, x, (8,))
    loss_2, own_2, everyone_2, before = value_and_gradient(mirrored, kernel, x, shares)
    np.testing.assert_allclose(loss_2[0], loss[0], atol=1e-9)
    np.testing.assert_allclose(own_2[0], own[0], atol=1e-9)
    for rows in everyone_2:
        np.testing.assert_allclose(rows, everyone[0], atol=1e-12)
    assert [int(b[0]) for b in before] == [0, shares[0]]


def test_static_rows_stay_static(mirrored):
    import tensorflow as tf

    def step():
        gathered = placement.all_gather(tf.ones((3, 2)) * tf.cast(placement.replica_id(), "float32"))
        drawn = placement.per_example(lambda n: tf.reshape(tf.range(n * 2), (n, 2)), 3)
        assert gathered.shape == (6, 2) and drawn.shape == (3, 2)
        assert placement.replicas() == 2
        return gathered, drawn

    gathered, drawn = tf.function(lambda: mirrored.run(step))()
    np.testing.assert_array_equal(mirrored.experimental_local_results(gathered)[1][:, 0], [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(mirrored.experimental_local_results(drawn)[1][:, 0], [6, 8, 10])


class Noisy(placement.PlacedModel):
    """Adds noise per example: to the inputs, and a shift and scale as a nest."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(6)
        self.seed = keras.random.SeedGenerator(3)

    def call(self, x, training=False):
        def draw(rows):
            return {
                "shift": keras.random.normal((rows, 6), seed=self.seed),
                "scale": keras.random.uniform((rows, 1), seed=self.seed),
            }

        if training:
            rows = x.shape[0] if x.shape[0] is not None else ops.shape(x)[0]
            noise = placement.per_example(draw, rows)
            x = x * noise["scale"] + noise["shift"]
        return self.dense(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return self.scale_loss(ops.mean(ops.square(y_pred - x)))


def test_random_numbers_do_not_depend_on_the_replicas(one_device, mirrored, train, assert_same, examples):
    models = [
        train(s, Noisy, examples[0], compile_with=lambda: {"steps_per_execution": 2})[0]
        for s in (one_device, mirrored)
    ]
    assert_same(*models)  # the seed state is among the weights compared here: six steps, two draws each
    states = mirrored.experimental_local_results(models[1].seed.state.value)
    assert [s.numpy().tolist() for s in states] == [[3, 12]] * 2


def test_while_building_rows_are_left_alone(mirrored):
    with mirrored.scope():
        assert placement.replicas() == 2
        assert placement.replica_id() == 0
        x = ops.ones((3, 2))
        assert placement.all_gather(x) is x
        assert placement.per_example(lambda n: ops.ones((n, 1)), 3).shape[0] == 3


@COMPUTE
def test_one_replica():
    x = ops.ones((3, 2))
    assert placement.replicas() == 1 and placement.replica_id() == 0
    assert placement.all_gather(x) is x
    assert placement.per_example(lambda n: ops.zeros((n, 2)), 5).shape[0] == 5
    assert rows_before_and_total(7) == (0, 7)


@COMPUTE
def test_noise_on_any_backend(examples):
    model = Noisy()
    model.compile("sgd")
    assert np.isfinite(model.fit(examples[0], verbose=0).history["loss"]).all()
