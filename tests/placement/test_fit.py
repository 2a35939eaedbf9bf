"""What `fit` is given and what it reports, on two replicas as on one device: metrics, weights, callbacks, sources."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

from tftransfer import data, placement

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tf.distribute is TensorFlow's"
)


class Linear(placement.PlacedModel):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(4)

    def call(self, x):
        return self.dense(x)


def judged():
    """Metrics of every kind: means, weighted ones, counts, confusion, curves, one over all pairs."""
    return {
        "loss": keras.losses.CategoricalCrossentropy(from_logits=True),
        "metrics": [
            "accuracy",
            "mae",
            keras.metrics.AUC(from_logits=True, name="auc"),
            keras.metrics.F1Score(average="macro", name="f1"),
            keras.metrics.Precision(name="precision", thresholds=0.0),
            keras.metrics.TruePositives(name="found", thresholds=0.0),
            keras.metrics.MeanIoU(2, name="overlap"),
        ],
        "weighted_metrics": [keras.metrics.CategoricalAccuracy(name="weighted")],
    }


def test_metrics_are_those_of_the_whole_batch(one_device, mirrored, train, assert_same, examples):
    """Also weighted, with batches that are split 8 and 5, and in validation."""
    x, y, v, w = examples
    y, w = (np.asarray(ops.one_hot(labels, 4)) for labels in (y, w))
    weights = np.linspace(0.1, 2, len(x), dtype="float32")
    both = [
        train(
            s, Linear, x, y, compile_with=judged, sample_weight=weights, validation_data=(v, w, weights[:21])
        )
        for s in (one_device, mirrored)
    ]
    assert_same(both[0][0], both[1][0])
    (_, first), (_, second) = both
    assert len(first) == 18
    for name in first:
        np.testing.assert_allclose(second[name], first[name], atol=1e-5, err_msg=name)


def test_class_weights(one_device, mirrored, train, assert_same, examples):
    def sparse():
        return {"loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}

    share = {0: 1.0, 1: 3.0, 2: 0.2, 3: 1.0}
    fit = {"compile_with": sparse, "class_weight": share}
    assert_same(*[train(s, Linear, *examples[:2], **fit)[0] for s in (one_device, mirrored)])


def test_callbacks_that_steer(one_device, mirrored, train, assert_same, examples):
    """A rate that a callback sets, a run that a callback stops, weights that a callback puts back."""
    x, y, v, w = examples
    histories = []
    models = []
    for s in (one_device, mirrored):
        steering = [
            keras.callbacks.LearningRateScheduler(lambda epoch: 0.5 / (1 + epoch) ** 2),
            keras.callbacks.ReduceLROnPlateau("val_loss", patience=1, factor=0.5),
            keras.callbacks.EarlyStopping("val_loss", patience=1, min_delta=0.05, restore_best_weights=True),
            keras.callbacks.TerminateOnNaN(),
        ]
        fit = {"validation_data": (v, w), "callbacks": steering, "epochs": 8}
        fit["compile_with"] = lambda: {"loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}
        model, history = train(s, Linear, x, y, **fit)
        models.append(model)
        histories.append(history)
    assert_same(*models)
    assert 1 < len(histories[0]["loss"]) == len(histories[1]["loss"]) < 8
    np.testing.assert_allclose(histories[0]["learning_rate"], histories[1]["learning_rate"])


class Counting(placement.PlacedModel):
    """Counts how often it was trained on each example; the first column is its number."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(1)
        self.seen = self.add_weight(shape=(45,), initializer="zeros", trainable=False, name="seen")

    def call(self, x, training=False):
        if training:
            numbers = placement.all_gather(ops.cast(x[:, 0], "int32"))
            self.seen.assign(self.seen + ops.sum(ops.one_hot(numbers, 45), axis=0))
        return self.dense(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return self.scale_loss(1e-6 * ops.mean(y_pred))


def numbered():
    return np.stack([np.arange(45, dtype="float32")] * 2, axis=1)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 6

    def __getitem__(self, index):
        return numbered()[8 * index : 8 * (index + 1)]


def generator(folder):
    def rows():
        yield from numbered()

    import tensorflow as tf

    whole = tf.data.Dataset.from_generator(rows, output_signature=tf.TensorSpec((2,), "float32"))
    return whole.apply(tf.data.experimental.assert_cardinality(45)).batch(8)


def files(folder):
    import tensorflow as tf

    for part, rows in enumerate(np.array_split(numbered(), 3)):
        with tf.io.TFRecordWriter(str(folder / f"{part}.tfrecord")) as file:
            for row in rows:
                file.write(row.tobytes())
    names = tf.data.Dataset.list_files(str(folder / "*.tfrecord"), shuffle=True, seed=1)
    records = names.interleave(tf.data.TFRecordDataset)
    return records.map(lambda r: tf.reshape(tf.io.decode_raw(r, "float32"), (2,))).batch(8)


SOURCES = {
    "arrays": lambda folder: numbered(),
    "shuffled arrays": lambda folder: data.batches(numbered(), batch_size=8, shuffle=True),
    "PyDataset": lambda folder: Batches(),
    "generator": generator,
    "files": files,
}


@pytest.mark.parametrize("name", SOURCES)
def test_every_example_once_an_epoch(mirrored, name, tmp_path):
    with mirrored.scope():
        model = Counting()
    model.compile("sgd")
    source = SOURCES[name](tmp_path)
    options = {"batch_size": 8} if name == "arrays" else {}
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Your input ran out of data"
        )  # how long files are shows at their end
        model.fit(source, epochs=2, shuffle=False, verbose=0, **options)
    np.testing.assert_array_equal(model.seen.numpy(), 2.0)
