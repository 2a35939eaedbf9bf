"""Keras's MixUp and CutMix on our batches: x and labels are mixed alike, on data of any rank."""

import keras
import numpy as np
import pytest

from tftransfer.data import batches
from tftransfer.data.mixing import mixed

pytestmark = pytest.mark.compute


def numbered(shape, count=16, classes=4):
    """Examples that are constant and say their class: class / (classes − 1)."""
    y = np.arange(count) % classes
    x = np.broadcast_to((y / (classes - 1)).reshape(-1, *[1] * len(shape)), (count, *shape))
    return x.astype("float32"), y


def one(pipeline):
    return [np.asarray(part) for part in next(iter(pipeline))]


@pytest.mark.parametrize("shape", [(6, 6, 2), (9,), (10, 3)], ids=["pictures", "table", "signal"])
def test_x_and_labels_are_mixed_alike(shape):
    x, y = numbered(shape)
    pipeline = mixed(batches((x, y), batch_size=16), keras.layers.MixUp(0.8, seed=3), num_classes=4)
    pictures, labels = one(pipeline)
    assert pictures.shape == x.shape and labels.shape == (16, 4) and labels.dtype == np.float32
    np.testing.assert_allclose(labels.sum(axis=1), 1, rtol=1e-5)
    expected = labels @ (np.arange(4) / 3)
    np.testing.assert_allclose(
        pictures.reshape(16, -1), np.repeat(expected[:, None], x[0].size, 1), atol=1e-5
    )
    assert ((labels > 0.02).sum(axis=1) == 2).sum() > 4  # it did mix
    assert (labels[np.arange(16), y] > 0.01).all()  # each with another, not all with the first


def test_cutmix_divides_labels_by_area():
    x, y = numbered((64, 64, 1), 64, 2)
    pipeline = mixed(batches((x, y), batch_size=64), keras.layers.CutMix(seed=3), num_classes=2)
    pictures, labels = one(pipeline)
    share = pictures.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(share, labels[:, 1], atol=0.04)
    assert ((share > 0.05) & (share < 0.95)).sum() > 4


def test_each_batch_and_pass_is_mixed_anew_and_a_seed_repeats_it():
    def labels(seed):
        source = batches(numbered((4, 4, 1)), batch_size=8)
        pipeline = mixed(source, keras.layers.MixUp(0.8, seed=seed), num_classes=4)
        return np.stack([np.asarray(y) for _ in range(2) for _, y in pipeline])

    first = labels(1)
    assert not np.allclose(first[0], first[2]) and not np.allclose(first[0], first[1])
    np.testing.assert_array_equal(first, labels(1))
    assert not np.allclose(first, labels(2))


def test_forms_of_labels_without_mixing():
    x, y = numbered((5,))
    for given, classes in ((y, 4), (y[:, None] == np.arange(4), 4), (np.eye(4)[y], None)):
        _, labels = one(mixed(batches((x, given), batch_size=16), num_classes=classes))
        np.testing.assert_array_equal(labels, np.eye(4, dtype="float32")[y])
    _, labels = one(mixed(batches((x, y % 2), batch_size=16), num_classes=1))
    np.testing.assert_array_equal(labels, (y % 2)[:, None].astype("float32"))
    _, values = one(mixed(batches((x, y + 0.5), batch_size=16), keras.layers.MixUp(seed=1)))
    assert values.shape == (16, 1)


def test_a_model_trains_on_it():
    x, y = numbered((6, 6, 1), 64, 3)
    model = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.1), loss, metrics=["accuracy"])
    training = mixed(batches((x, y), batch_size=16), keras.layers.MixUp(0.2, seed=1), num_classes=3)
    validation = mixed(batches((x, y), batch_size=64), num_classes=3)
    history = model.fit(training, epochs=10, validation_data=validation, shuffle=False, verbose=0).history
    assert history["val_accuracy"][-1] > 0.95


@pytest.mark.parametrize(
    ("data", "layer", "classes", "message"),
    [
        (numbered((5,)), keras.layers.CutMix(), 4, "needs pictures"),
        (numbered((5,)), keras.layers.MixUp(), None, "num_classes"),
        (numbered((5,))[0], keras.layers.MixUp(), 4, "batches"),
        ((*numbered((5,)), np.ones(16)), keras.layers.MixUp(), 4, "3 columns"),
        ((np.arange(32).reshape(16, 2), np.arange(16)), keras.layers.MixUp(), 16, "whole numbers"),
        (numbered((5,)), "mixup", 4, "Keras layer"),
        ((numbered((5,))[0], np.eye(4)[np.arange(16) % 4]), keras.layers.MixUp(), 3, "4 columns"),
    ],
)
def test_mistakes_raise(data, layer, classes, message):
    with pytest.raises(ValueError, match=message):
        mixed(batches(data, batch_size=4), layer, num_classes=classes)


def test_it_takes_batches():
    with pytest.raises(ValueError, match="batches"):
        mixed(numbered((5,)), keras.layers.MixUp(), num_classes=4)


def test_a_batch_is_mixed_the_same_wherever_one_starts():
    def labels(start, count, layer):
        source = batches(numbered((4, 4, 1)), batch_size=4, repeat=True, start=start)
        steps = zip(range(count), mixed(source, layer, num_classes=4, start=start), strict=False)
        return np.stack([np.asarray(y) for _, (_, y) in steps])

    seeded = keras.layers.MixUp(0.8, seed=4)
    whole = labels(0, 9, seeded)
    assert len({part.tobytes() for part in whole}) == 9
    np.testing.assert_array_equal(labels(0, 9, seeded), whole)
    np.testing.assert_array_equal(labels(5, 4, seeded), whole[5:])
    unseeded = labels(0, 3, keras.layers.MixUp(0.8))
    np.testing.assert_array_equal(labels(0, 3, keras.layers.MixUp(0.8)), unseeded)
    assert not np.allclose(whole[:3], unseeded)


@pytest.mark.parametrize("classes", [1, 3])
def test_class_weights_of_mixed_examples_are_those_of_the_weighted_loss(classes):
    x, y = numbered((4, 4, 1), 12, max(classes, 2))
    weights = {0: 0.5, 1: 2.0, 2: 0.0} if classes == 3 else {0: 0.5, 1: 2.0}
    layer = keras.layers.MixUp(0.8, seed=3)
    _, soft = one(mixed(batches((x, y), batch_size=12), layer, num_classes=classes, start=0))
    both = mixed(batches((x, y), batch_size=12), layer, num_classes=classes, class_weight=weights, start=0)
    _, rows, count = one(both)
    logits = np.random.default_rng(0).normal(size=(12, classes)).astype("float32")
    if classes == 1:
        p = 1 / (1 + np.exp(-logits[:, 0]))
        expected = -(weights[1] * soft[:, 0] * np.log(p) + weights[0] * (1 - soft[:, 0]) * np.log(1 - p))
        loss = keras.losses.BinaryCrossentropy(from_logits=True, reduction=None)
    else:
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        expected = -(soft * np.array([0.5, 2.0, 0.0]) * log_p).sum(axis=1)
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, reduction=None)
    got = keras.ops.convert_to_numpy(loss(rows, logits, sample_weight=count))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)
