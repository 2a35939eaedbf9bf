"""Class weights, smoothing and mixing in finetune: what Keras gives by hand, on every path, for every kind of label."""

import keras
import numpy as np
import pytest

import tftransfer as tt
from tests.finetuning.conftest import pictures, small_backbone
from tftransfer.finetuning import finetune
from tftransfer.finetuning.class_weights import class_weights
from tftransfer.finetuning.rates import make_optimizer
from tftransfer.finetuning.smoothing import smoothed
from tftransfer.finetuning.targets import Targets
from tftransfer.policies import full, linear_probe
from tftransfer.tasks import Classifier, Regressor


class HearsSteps(keras.callbacks.Callback):
    """Makes finetune take step by step what it would else do in one loop per epoch."""

    def on_train_batch_end(self, batch, logs=None):
        pass


def uneven(count=22):
    """Pictures of three classes, two of which are rare."""
    x, y = pictures(3 * count)
    kept = np.r_[np.flatnonzero(y == 0)[:16], np.flatnonzero(y == 1)[:4], np.flatnonzero(y == 2)[:2]]
    return x[kept], y[kept]


def by_hand(task, data, loss, *, class_weight=None):
    """Two epochs of the head, by Keras alone."""
    task.backbone.trainable = False
    optimizer, _ = make_optimizer(1e-2, schedule="cosine", steps=6)
    task.compile(optimizer, loss, metrics=task.default_metrics(one_hot=np.ndim(data[1]) == 2))
    batches = tt.data.batches(data, batch_size=8, shuffle=True, repeat=True, seed=0)
    task.fit(batches, epochs=2, steps_per_epoch=3, class_weight=class_weight, shuffle=False, verbose=0)
    return [np.array(w) for w in task.head.get_weights()]


def probed(task, data, **options):
    finetune(task, data, policy=linear_probe(2), batch_size=8, verbose=0, **options)
    return [np.array(w) for w in task.head.get_weights()]


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("numbers", marks=pytest.mark.compute),
        pytest.param("rows", marks=pytest.mark.thorough),
        "binary",
    ],
)
def test_class_weights_and_smoothing_are_kerass_on_every_path(kind):
    x, y = uneven()
    classes = 1 if kind == "binary" else 3
    y = {"numbers": y, "rows": np.eye(3, dtype="float32")[y], "binary": (y > 0).astype(int)}[kind]
    weights = class_weights("balanced", (x, y), num_classes=classes)

    def task(cls=Classifier):
        keras.utils.set_random_seed(3)
        return cls(small_backbone(), num_classes=classes)

    class Slow(Classifier):  # runs all of it in every step
        def call(self, inputs, training=None):
            return super().call(inputs, training=training)

    plain = task()
    if kind == "numbers" or kind == "rows":
        loss = smoothed(plain.default_loss(one_hot=kind == "rows"), 0.2)
    else:
        loss = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.2)
    expected = by_hand(plain, (x, y), loss, class_weight=weights)
    given = {"class_weight": "balanced", "label_smoothing": 0.2}
    for found in (
        probed(task(), (x, y), **given),
        probed(task(), (x, y), callbacks=[HearsSteps()], **given),
        probed(task(Slow), (x, y), **given),
    ):
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=2e-6)
    without = probed(task(), (x, y))
    assert any(np.abs(one - other).max() > 1e-4 for one, other in zip(without, expected, strict=True))


def test_class_weights_of_datasets():
    tf = pytest.importorskip("tensorflow")
    x, y = uneven()
    weights = {0: 0.5, 1: 2.0, 2: 4.0}
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
    results = []
    for data in (dataset, dataset.map(lambda x, y: (x, y, tf.gather([0.5, 2.0, 4.0], y)))):
        keras.utils.set_random_seed(3)
        task = Classifier(small_backbone(), 3)
        results.append(probed(task, data, class_weight=weights if data is dataset else None))
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_rare_classes_are_found():
    x, y = uneven()
    test = pictures(60, seed=5)
    recall = []
    for given in (None, "balanced"):
        keras.utils.set_random_seed(3)
        task = Classifier(small_backbone(), 3)
        finetune(task, (x, y), policy=linear_probe(40), class_weight=given, batch_size=8, verbose=0)
        predicted = task.predict(test[0], verbose=0).argmax(axis=1)
        recall.append(np.mean([(predicted[test[1] == c] == c).mean() for c in range(3)]))
    assert recall[1] > recall[0] + 0.05


MIX = {"alpha": 0.8, "seed": 3}


@pytest.mark.parametrize(
    "labels",
    [
        "numbers",
        pytest.param("rows", marks=pytest.mark.thorough),
        pytest.param("binary", marks=pytest.mark.thorough),
        "several",
        "values",
    ],
)
def test_mixing_serves_every_kind_of_label(labels, capsys):
    x, y = pictures(30)
    validation = pictures(15, seed=1)

    def form(y):
        kinds = {"numbers": y, "rows": np.eye(3)[y], "binary": y % 2}
        kinds |= {"several": np.stack([y > 0, y > 1], 1).astype("float32"), "values": y * 0.5}
        return kinds[labels]

    task = {
        "numbers": lambda: Classifier(small_backbone(), 3),
        "rows": lambda: Classifier(small_backbone(), 3),
        "binary": lambda: Classifier(small_backbone(), 1),
        "several": lambda: Classifier(small_backbone(), 2, multi_label=True),
        "values": lambda: Regressor(small_backbone()),
    }[labels]()
    history = finetune(
        task,
        (x, form(y)),
        validation_data=(validation[0], form(validation[1])),
        policy=linear_probe(1) + full(6, learning_rate=1e-2),
        mixing=keras.layers.MixUp(**MIX),
        batch_size=10,
        monitor="val_loss",
        verbose=2,
    ).history
    assert min(history["val_loss"][1:]) < history["val_loss"][0]
    assert "running in every step (examples are mixed with one another)" in capsys.readouterr().out


@pytest.mark.compute
def test_mixed_batches_are_what_data_mixed_gives():
    x, y = pictures(30)
    task = Classifier(small_backbone(), 3)
    layer = keras.layers.MixUp(**MIX)
    targets = Targets(task, (x, y), batch_size=10, mixing=layer, class_weight={0: 1, 1: 2, 2: 3})
    assert isinstance(targets.loss(), keras.losses.CategoricalCrossentropy)
    pictures_, rows, weights = (np.asarray(part) for part in next(iter(targets.training((x, y), (6, 6, 1)))))
    assert pictures_.shape == (10, 6, 6, 1) and rows.shape == (10, 3) and weights.shape == (10,)
    assert ((weights >= 1) & (weights <= 3)).all() and len(np.unique(weights)) > 3
    validation = next(iter(targets.validating((x, y), (6, 6, 1))))
    assert len(validation) == 2 and set(np.unique(np.asarray(validation[1]))) == {0.0, 1.0}


def test_the_same_seed_mixes_alike_and_the_users_layer_stays_as_it_was():
    def tuned(seed, layer):
        keras.utils.set_random_seed(3)
        task = Classifier(small_backbone(), 3)
        finetune(task, pictures(30), policy=full(2), mixing=layer, batch_size=10, seed=seed, verbose=0)
        return task.get_weights()

    layer = keras.layers.MixUp(0.8)
    state = np.array(keras.ops.convert_to_numpy(layer.generator.state))
    first = tuned(1, layer)
    np.testing.assert_array_equal(state, keras.ops.convert_to_numpy(layer.generator.state))
    for one, other in zip(first, tuned(1, keras.layers.MixUp(0.8)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert any((one != other).any() for one, other in zip(first, tuned(2, layer), strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_weight": "even"}, "balanced"),
        ({"class_weight": {0: 1.0, 1: 2.0}}, "classes 0 to 2"),
        ({"label_smoothing": 1.0}, r"\[0, 1\)"),
        ({"label_smoothing": "much"}, r"\[0, 1\)"),
        ({"mixing": 0.2}, "Keras layer"),
        ({"mixing": keras.layers.MixUp}, "Keras layer"),
    ],
)
def test_mistakes_raise_before_any_step(make_task, data, options, message):
    task = make_task()
    with pytest.raises(ValueError, match=message):
        finetune(task, data, verbose=0, **options)
    assert not task.compiled


def test_what_makes_no_sense_for_a_task_raises():
    x, y = pictures(12)
    several = Classifier(small_backbone(), 3, multi_label=True)
    rows = np.eye(3, dtype="float32")[y]
    with pytest.raises(ValueError, match="may have several"):
        finetune(several, (x, rows), class_weight={0: 1, 1: 1, 2: 1}, verbose=0)
    with pytest.raises(ValueError, match="has no classes"):
        finetune(Regressor(small_backbone()), (x, y * 0.5), class_weight="balanced", verbose=0)
    with pytest.raises(ValueError, match="Leave it out"):
        finetune(Regressor(small_backbone()), (x, y * 0.5), label_smoothing=0.1, verbose=0)
    weighted = (x, y, np.ones(12, "float32"))
    with pytest.raises(ValueError, match="two weights"):
        finetune(Classifier(small_backbone(), 3), weighted, class_weight="balanced", verbose=0)
    with pytest.raises(ValueError, match="3 columns"):
        finetune(Classifier(small_backbone(), 3), weighted, mixing=keras.layers.MixUp(), verbose=0)
    table = Classifier(tt.backbones.mlp((6,), units=(4,)), 2)
    with pytest.raises(ValueError, match="needs pictures"):
        finetune(
            table, (np.ones((8, 6), "float32"), np.arange(8) % 2), mixing=keras.layers.CutMix(), verbose=0
        )


def test_smoothing_several_labels_is_binary():
    x, y = pictures(12)
    task = Classifier(small_backbone(), 3, multi_label=True)
    targets = Targets(task, (x, np.eye(3)[y]), batch_size=4, label_smoothing=0.2)
    logits, rows = np.array([[2.0, -1.0, 0.5]], "float32"), np.array([[1.0, 0.0, 1.0]], "float32")
    p, soft = 1 / (1 + np.exp(-logits.astype("float64"))), rows * 0.8 + 0.1
    expected = -(soft * np.log(p) + (1 - soft) * np.log(1 - p)).mean()
    assert float(targets.loss()(rows, logits)) == pytest.approx(expected, rel=1e-5)


def test_class_weights_with_features_on_disk():
    results = []
    for cache in ("memory", "disk"):
        keras.utils.set_random_seed(3)
        results.append(
            probed(Classifier(small_backbone(), 3), uneven(), class_weight="balanced", cache=cache)
        )
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
