"""evaluate(): every kind of model and data gives the report that its predictions deserve."""

import keras
import numpy as np
import pytest

from tftransfer.backbones import mlp
from tftransfer.data import Examples
from tftransfer.evaluation import RegressionReport, Report, evaluate
from tftransfer.tasks import Classifier, Regressor

pytestmark = pytest.mark.compute
RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(50, 4)).astype("float32"), RANDOM.integers(0, 3, 50)


def dense(units, activation=None):
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(units, activation=activation)])


def outputs_of(model, x=X):
    return keras.ops.convert_to_numpy(model(x)).astype("float64")


def softmax(z):
    return np.exp(z) / np.exp(z).sum(1, keepdims=True)


def same(one, other):
    assert one.metrics == pytest.approx(other.metrics, abs=1e-6)


def test_classifier_gives_logits():
    task = Classifier(mlp((4,), units=(8,)), num_classes=3)
    report = evaluate(task, (X, Y), batch_size=16, verbose=0)  # the last batch is short
    same(report, Report(Y, softmax(outputs_of(task))))
    assert "logits" in report.note


def test_binary_classifier():
    task = Classifier(mlp((4,), units=(8,)), num_classes=1)
    report = evaluate(task, (X, Y > 0), verbose=0)
    assert report.kind == "binary"
    same(report, Report(Y > 0, 1 / (1 + np.exp(-outputs_of(task)))))
    same(evaluate(task, (X, np.eye(2)[(Y > 0).astype(int)]), verbose=0), report)


def test_multi_label_classifier():
    labels = RANDOM.integers(0, 2, (50, 3))
    task = Classifier(mlp((4,), units=(8,)), num_classes=3, multi_label=True)
    report = evaluate(task, (X, labels), verbose=0)
    same(report, Report(labels, 1 / (1 + np.exp(-outputs_of(task))), multi_label=True))


def test_regressor():
    task = Regressor(mlp((4,), units=(8,)), num_outputs=2)
    labels = RANDOM.normal(size=(50, 2))
    report = evaluate(task, (X, labels), verbose=0)
    assert isinstance(report, RegressionReport)
    same(report, RegressionReport(labels, outputs_of(task)))


@pytest.mark.parametrize("activation", ["softmax", None])
def test_any_keras_model_and_label_form(activation):
    model = dense(3, activation)
    p = outputs_of(model) if activation else softmax(outputs_of(model))
    for labels in (Y, Y[:, None], np.eye(3)[Y], Y.astype("float32")):
        same(evaluate(model, (X, labels), verbose=0), Report(Y, p))


def test_sigmoid_model_with_label_sets_is_multi_label():
    model = dense(3, "sigmoid")
    assert evaluate(model, (X, np.eye(3)[Y]), verbose=0).kind == "multi-label"
    assert evaluate(model, (X, Y), verbose=0).kind == "multi-class"
    several = np.ones((50, 3))
    assert evaluate(dense(3), (X, several), verbose=0).kind == "multi-label"


def test_examples_bring_names_and_bytes_are_scaled():
    pictures = RANDOM.integers(0, 256, (12, 2, 2, 1)).astype("uint8")
    labels = np.arange(12) % 2
    model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    report = evaluate(model, Examples(pictures, labels, class_names=["cat", "dog"]), verbose=0)
    assert report.class_names == ["cat", "dog"]
    same(report, Report(labels, softmax(outputs_of(model, pictures.astype("float32") / 255))))
    named = evaluate(model, (pictures, labels), class_names=["a", "b"], verbose=0)
    assert named.class_names == ["a", "b"]


def test_datasets_keep_their_order():
    tf = pytest.importorskip("tensorflow")
    model = dense(3)
    dataset = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(50).batch(8)
    same(evaluate(model, dataset, verbose=0), evaluate(model, (X, Y), verbose=0))
    unknown = dataset.filter(lambda x, y: True)
    same(evaluate(model, unknown, verbose=0), evaluate(model, (X, Y), verbose=0))


def test_each_example_is_read_once():
    tf = pytest.importorskip("tensorflow")
    reads = []

    def read(index):
        reads.append(int(index))
        return X[index], Y[index]

    dataset = tf.data.Dataset.range(50).map(lambda i: tf.numpy_function(read, [i], (tf.float32, tf.int64)))
    dataset = dataset.map(lambda x, y: (tf.ensure_shape(x, (4,)), tf.ensure_shape(y, ()))).batch(10)
    evaluate(dense(3), dataset, verbose=0)
    assert len(reads) <= 60  # one pass, and at most a batch looked at to see what it is


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute")
def test_two_replicas_predict_in_order():
    import tensorflow as tf

    from tftransfer import placement

    strategy = placement.strategy("mirrored")
    assert strategy.num_replicas_in_sync == len(tf.config.list_logical_devices("CPU")) == 2
    with strategy.scope():
        task = Classifier(mlp((4,), units=(8,)), num_classes=3)
    report = evaluate(task, (X[:33], Y[:33]), batch_size=8, verbose=0)
    same(report, Report(Y[:33], softmax(outputs_of(task, X[:33]))))


@pytest.mark.parametrize(
    "data, says",
    [
        (X, "known labels"),
        (Examples(X), "known labels"),
        ((X, None), "known labels"),
        ((X, Y[:10]), "length|row per example"),
        ((X[:0], Y[:0]), "empty"),
        ((X, Y + 1), "labels from 1 to 3"),
        ((X, Y - 1), "labels from -1"),
        ((np.where(X > 2, np.nan, X), Y), "NaN"),
        ((X, Y / 2), "fractional"),
    ],
)
def test_bad_data(data, says):
    with pytest.raises(ValueError, match=says):
        evaluate(dense(3), data, verbose=0)


def test_nan_in_a_later_batch_is_told_clearly():
    x = X.copy()
    x[45] = np.inf
    with pytest.raises(ValueError, match="NaN or infin"):
        evaluate(dense(3), (x, Y), batch_size=8, verbose=0)


def test_diverged_model():
    model = dense(3)
    model.set_weights([np.full((4, 3), np.nan), np.zeros(3)])
    with pytest.raises(ValueError, match="diverged"):
        evaluate(model, (X, Y), verbose=0)


def test_not_a_model():
    with pytest.raises(ValueError, match="Classifier"):
        evaluate("encoder.weights.h5", (X, Y))
