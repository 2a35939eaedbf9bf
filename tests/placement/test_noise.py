"""Layers that draw random numbers: under two replicas as on one device, or at least not twice the same."""

import copy

import keras
import numpy as np
import pytest
from keras import layers, ops

from tftransfer import objectives, placement, tasks
from tftransfer.layers import RandomView, TransformerBlock

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tf.distribute is TensorFlow's"
)


def rows():
    parts = [
        layers.Dense(8),
        layers.Dropout(0.4, seed=1),
        layers.GaussianNoise(0.3, seed=2),
        layers.GaussianDropout(0.3, seed=3),
        layers.AlphaDropout(0.2, seed=4),
        layers.Reshape((4, 2)),
        layers.Dropout(0.4, noise_shape=(None, 1, 2), seed=5),
        layers.SpatialDropout1D(0.4, seed=6),
        layers.Flatten(),
    ]
    return keras.Sequential([keras.Input((6,)), *parts])


def attention():
    inputs = keras.Input((6,))
    tokens = layers.Dense(4)(layers.Reshape((3, 2))(inputs))
    tokens = layers.MultiHeadAttention(2, 2, dropout=0.4, seed=1)(tokens, tokens)
    return keras.Model(inputs, layers.Flatten()(TransformerBlock(2, dropout=0.3)(tokens)))


def recurrent():
    parts = [layers.Reshape((3, 2)), layers.GRU(4, dropout=0.3, recurrent_dropout=0.3, seed=1)]
    return keras.Sequential([keras.Input((6,)), *parts])


class Views(placement.PlacedModel):
    """A noisy body on two views of each example, one after the other, as objectives put them."""

    def __init__(self, body, views=2):
        super().__init__()
        self.body, self.views = body(), views
        self.head = layers.Dense(4)

    def call(self, x, training=False):
        views = ops.concatenate([x * (1 + k) for k in range(self.views)], axis=0)
        logits = self.head(self.body(views, training=training))  # (views · batch, 4)
        return ops.mean(ops.reshape(logits, (self.views, -1, 4)), axis=0)


def classification():
    return {"loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}


def batches(x, y):
    """Without end, so that TensorFlow knows the replicas' batches to be of one size."""
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((x, y)).batch(16, drop_remainder=True).repeat()


@pytest.mark.parametrize("body", [rows, attention, pytest.param(recurrent, marks=pytest.mark.thorough)])
def test_the_numbers_of_one_device(one_device, mirrored, train, assert_same, examples, body):
    """Also where the last batch is split unevenly: 45 examples are 16, 16 and 13, of which 8 and 5."""
    both = [
        train(s, lambda: Views(body), *examples[:2], compile_with=classification, epochs=1)
        for s in (one_device, mirrored)
    ]
    assert_same(both[0][0], both[1][0])
    np.testing.assert_allclose(both[0][1]["loss"], both[1][1]["loss"], atol=1e-5)


def test_batches_of_fixed_size(one_device, mirrored, train, assert_same, examples):
    data = batches(*examples[:2])
    fit = {"batch_size": None, "steps_per_epoch": 2}
    fit["compile_with"] = lambda: {**classification(), "steps_per_execution": 2}
    assert_same(*[train(s, lambda: Views(rows, 3), data, **fit)[0] for s in (one_device, mirrored)])


def test_eagerly_and_with_a_replica_that_has_nothing(one_device, mirrored, train, assert_same, examples):
    def eagerly():
        return {**classification(), "run_eagerly": True}

    x, y = examples[0][:17], examples[1][:17]  # the last batch is one example, for the first replica
    assert_same(
        *[
            train(s, lambda: Views(rows), x, y, compile_with=eagerly, epochs=1)[0]
            for s in (one_device, mirrored)
        ]
    )


def test_an_objective_and_a_task_with_dropout_and_views(one_device, mirrored, assert_same):
    x, y = np.random.default_rng(0).random((32, 8, 8, 1), "float32"), np.arange(32) % 3
    trained = []
    for s in (one_device, mirrored):
        keras.utils.set_random_seed(1)
        with s.scope():
            parts = [
                layers.Conv2D(4, 3, strides=2),
                layers.SpatialDropout2D(0.3),
                layers.Flatten(),
                layers.Dropout(0.3),
            ]
            backbone = keras.Sequential([keras.Input((8, 8, 1)), *parts])
            objective = objectives.SimCLR(backbone)
            task = tasks.Classifier(backbone, 3, dropout=0.4, augmentation=RandomView())
        objective.compile("sgd")
        objective.fit(x, batch_size=16, shuffle=False, verbose=0)
        task.compile("sgd", task.default_loss())
        task.fit(x, y, batch_size=16, shuffle=False, verbose=0)
        trained.append(objective)
        trained.append(task)
    assert_same(trained[0], trained[2])
    assert_same(trained[1], trained[3])


class StochasticDepth(layers.Layer):
    """As users write it: it knows nothing of replicas."""

    def __init__(self):
        super().__init__()
        self.seed_generator = keras.random.SeedGenerator(7)

    def call(self, x, training=False):
        return keras.random.uniform((ops.shape(x)[0], 6), seed=self.seed_generator) if training else x


class PerExample(StochasticDepth):
    def call(self, x, training=False):
        def draw(n):
            return keras.random.uniform((n, 6), seed=self.seed_generator)

        return placement.per_example(draw, ops.shape(x)[0]) if training else x


class Codebook(StochasticDepth):
    def build(self, shape):
        self.codes = self.add_weight(shape=(6,), trainable=False, name="codes")


class Shown(placement.PlacedModel):
    """Keeps what a layer made of the global batch."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.dense = layers.Dense(1)
        self.seen = self.add_weight(shape=(16, 6), initializer="zeros", trainable=False)

    def call(self, x, training=False):
        made = self.layer(x, training=training)
        if training:
            self.seen.assign(placement.all_gather(made))
        return self.dense(made)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return self.scale_loss(ops.mean(y_pred))


def shown(placed, train, layer):
    x = np.tile(np.arange(6, dtype="float32") / 6, (16, 1))
    model, _ = train(
        placed, lambda: Shown(layer()), batches(x, x), batch_size=None, epochs=1, steps_per_epoch=1
    )
    return model.seen.numpy()


def brightness():
    return keras.Sequential(
        [layers.Reshape((3, 2, 1)), layers.RandomBrightness(0.9, (0, 1), seed=3), layers.Flatten()]
    )


@pytest.mark.parametrize("layer", [StochasticDepth, brightness])
def test_layers_that_know_nothing_of_replicas(mirrored, train, layer):
    """Different rows on each replica, the same in each run."""
    first = shown(mirrored, train, layer)
    assert np.abs(first[:8] - first[8:]).max(axis=1).min() > 0
    np.testing.assert_array_equal(first, shown(mirrored, train, layer))


def test_layers_that_draw_per_example_keep_their_numbers(one_device, mirrored, train):
    np.testing.assert_array_equal(*[shown(s, train, PerExample) for s in (one_device, mirrored)])


def test_layers_with_weights_draw_alike_everywhere(mirrored, train):
    made = shown(mirrored, train, Codebook)
    np.testing.assert_array_equal(made[:8], made[8:])


def test_adapted_layers_are_still_the_plain_ones(mirrored, train, examples, tmp_path):
    model, _ = train(mirrored, lambda: Views(rows), *examples[:2], compile_with=classification, epochs=1)
    body = model.body
    body.save(tmp_path / "body.keras")
    loaded, copied = keras.saving.load_model(tmp_path / "body.keras"), copy.deepcopy(body.layers[1])
    assert copied.call.__self__ is copied
    for one in (body, loaded):
        assert one(examples[0], training=True).shape == (45, 8)
    np.testing.assert_allclose(body(examples[0]), loaded(examples[0]), atol=1e-6)
    placement.noise.adapt_noise(model)
    assert one.layers[1].call is not None and body.layers[1].call.__self__ is body.layers[1]
