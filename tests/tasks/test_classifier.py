import keras
import numpy as np
import pytest

from tftransfer import backbones
from tftransfer.tasks import Classifier

X = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
CLASSES = X[:, :3].argmax(axis=1)
SIGNS = (X[:, :3] > 0).astype("int32")

KINDS = {  # labels, settings, what default_loss is told
    "multi-class": (CLASSES, {"num_classes": 3}, False),
    "multi-class, one column": (CLASSES[:, None], {"num_classes": 3}, False),
    "one-hot": (np.eye(3)[CLASSES], {"num_classes": 3}, True),
    "binary": (SIGNS[:, 0], {"num_classes": 1}, False),
    "binary, one column": (SIGNS[:, :1], {"num_classes": 1}, False),
    "multi-label": (SIGNS, {"num_classes": 3, "multi_label": True}, False),
}


def make(**settings):
    keras.utils.set_random_seed(0)
    return Classifier(backbones.mlp((8,), units=(16,)), **settings)


@pytest.mark.compute
@pytest.mark.parametrize("kind", ["multi-class", "one-hot", "binary", "multi-label"])
def test_learns_by_plain_compile_and_fit(kind):
    y, settings, one_hot = KINDS[kind]
    task = make(**settings)
    task.compile(
        keras.optimizers.Adam(0.02), task.default_loss(one_hot), metrics=task.default_metrics(one_hot)
    )
    history = task.fit(X, y, batch_size=16, epochs=12, verbose=0).history
    assert history["accuracy"][-1] > max(0.85, history["accuracy"][0])
    assert history["loss"][-1] < 0.7 * history["loss"][0]


def log_loss(task, y):
    """The definition, in float64, from the logits."""
    z = np.asarray(task(X), "float64")
    if task.is_binary:
        y = np.reshape(y, z.shape)
        return np.mean(np.logaddexp(0, z) - y * z)
    z = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    y = y.argmax(axis=1) if y.ndim == 2 and y.shape[1] > 1 else np.ravel(y)
    return -np.mean(z[np.arange(len(z)), y])


def accuracy(task, y):
    z = np.asarray(task(X))
    if task.is_binary:
        return np.mean((z > 0) == np.reshape(y, z.shape))
    y = y.argmax(axis=1) if y.ndim == 2 and y.shape[1] > 1 else np.ravel(y)
    return np.mean(z.argmax(axis=1) == y)


@pytest.mark.compute
@pytest.mark.parametrize("kind", KINDS)
def test_default_loss_and_metrics_read_logits(kind):
    y, settings, one_hot = KINDS[kind]
    task = make(**settings)
    task.head.kernel.assign(5 * np.random.default_rng(1).normal(size=task.head.kernel.shape))
    (metric,) = task.default_metrics(one_hot)
    assert metric.name == "accuracy"
    assert float(task.default_loss(one_hot)(y, task(X))) == pytest.approx(log_loss(task, y), rel=1e-4)
    assert float(metric(y, task(X))) == pytest.approx(accuracy(task, y), abs=1e-6)


@pytest.mark.compute
def test_probabilities():
    z = np.array([[1.0, -2.0, 0.5]], "float32")
    softmax, sigmoid = np.exp(z) / np.exp(z).sum(), 1 / (1 + np.exp(-z))
    np.testing.assert_allclose(np.asarray(make(num_classes=3).probabilities(z)), softmax, atol=1e-6)
    several = make(num_classes=3, multi_label=True)
    np.testing.assert_allclose(np.asarray(several.probabilities(z)), sigmoid, atol=1e-6)
    np.testing.assert_allclose(
        np.asarray(make(num_classes=1).probabilities(z[:, :1])), sigmoid[:, :1], atol=1e-6
    )
    assert [make(num_classes=n).is_binary for n in (1, 2)] == [True, False] and several.is_binary


def test_from_binary_to_classes_and_back():
    task = make(num_classes=1)
    assert isinstance(task.swap_head(3).default_loss(), keras.losses.SparseCategoricalCrossentropy)
    assert isinstance(task.swap_head(1).default_loss(), keras.losses.BinaryCrossentropy)


def test_without_a_number_of_classes_there_is_no_head_yet():
    task = make()
    assert task.head is None and task.num_classes is None and len(task.weights) == len(task.backbone.weights)
    with pytest.raises(ValueError, match="no head yet"):
        task(X)
    again = Classifier.from_config(task.get_config())
    assert again.head is None
    assert task.swap_head(3).num_classes == 3 and task(X).shape == (64, 3)
    own = make(head=keras.Sequential([keras.layers.Dense(5, activation="relu"), keras.layers.Dense(4)]))
    assert own.num_classes == 4 and own(X).shape == (64, 4)
    with pytest.raises(ValueError, match="head is a Keras layer"):
        make(head="linear")
