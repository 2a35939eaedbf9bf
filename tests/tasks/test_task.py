"""What holds for every task: backbones of every kind, files, heads."""

import keras
import numpy as np
import pytest

from tftransfer import backbones, layers, tasks, weights
from tftransfer.tasks import Classifier, Regressor, Task


def mlp(units=4):
    return backbones.mlp((8,), units=(units,))


def examples(n=32, shape=(8,)):
    draw = np.random.default_rng(0)
    return draw.random((n, *shape), dtype="float32"), np.arange(n) % 3


def values(model):
    return [keras.ops.convert_to_numpy(v) for v in model.weights]


def functional():
    inputs = keras.Input((8,))
    return keras.Model(inputs, keras.layers.Reshape((2, 2))(keras.layers.Dense(4)(inputs)))


def mobile_net():
    return keras.applications.MobileNetV2(
        weights=None, include_top=False, input_shape=(32, 32, 3), alpha=0.35
    )


BACKBONES = {
    "sequential": lambda: keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)]),
    "functional, tokens": functional,
    "keras.applications": mobile_net,
    "vit": lambda: backbones.vit((8, 8, 1), width=8, depth=1, num_heads=2),
}


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=[pytest.mark.compute] * (k != "keras.applications")) for k in BACKBONES]
)
def test_models_of_ones_own_are_backbones(kind):
    backbone = BACKBONES[kind]()
    task = Classifier(backbone, num_classes=3)
    x, _ = examples(2, backbone.input_shape[1:])
    features = np.asarray(backbone(x, training=False))
    embeddings = features.reshape(2, -1, features.shape[-1]).mean(axis=1)
    np.testing.assert_allclose(np.asarray(task.embed(x, training=False)), embeddings, atol=1e-5)
    logits = embeddings @ np.asarray(task.head.kernel) + np.asarray(task.head.bias)
    np.testing.assert_allclose(np.asarray(task(x, training=False)), logits, atol=1e-5)
    assert task.backbone is backbone


@pytest.mark.parametrize("pooling, width", [("auto", 4), ("mean", 4), ("max", 4), ("flatten", 16)])
def test_pooling(pooling, width):
    task = Classifier(backbones.cnn((4, 4, 1), filters=(4,)), 3, pooling=pooling)
    assert task.head.kernel.shape == (width, 3)


@pytest.mark.parametrize("make", [lambda: Classifier(mlp(), 3), lambda: Regressor(mlp(), 2)])
def test_keras_file_before_and_after_a_swap(make, tmp_path):
    task, (x, y) = make(), examples()
    labels = y if isinstance(task, Classifier) else np.stack([y, y], 1)
    task.compile("adam", task.default_loss(), metrics=task.default_metrics())
    task.fit(x, labels, batch_size=16, verbose=0)
    for swapped in (False, True):
        if swapped:
            task.swap_head(5)
        task.save(tmp_path / "task.keras")
        loaded = keras.models.load_model(tmp_path / "task.keras")
        assert type(loaded) is type(task)
        np.testing.assert_array_equal(np.asarray(loaded(x)), np.asarray(task(x)))
        assert loaded.get_config().keys() == task.get_config().keys()
    loaded.swap_head(2)
    assert loaded(x).shape == (32, 2)


def test_swap_head_leaves_nothing_of_the_old_one(tmp_path):
    task, (x, y) = Classifier(mlp(), 3), examples()
    task.compile("adam", task.default_loss(), metrics=task.default_metrics())
    task.fit(x, y, verbose=0)
    old, backbone = task.head, [np.array(v) for v in task.backbone.get_weights()]
    assert task.swap_head(5) is task
    assert task.head is not old and task.head.name == "head" and task.num_classes == 5
    assert not {id(v) for v in old.weights} & {id(v) for v in task.variables}
    assert old not in task.layers and len(task.weights) == len(backbone) + 2
    assert len(task.trainable_variables) == len(task.backbone.trainable_variables) + 2
    assert all(np.array_equal(a, b) for a, b in zip(backbone, task.backbone.get_weights(), strict=True))
    assert list(weights.variable_paths(task))[-2:] == ["head/kernel", "head/bias"]
    task.save_weights(tmp_path / "task.weights.h5")
    fresh = Classifier(mlp(), 5)
    fresh.load_weights(tmp_path / "task.weights.h5")
    assert all(np.array_equal(a, b) for a, b in zip(values(task), values(fresh), strict=True))
    assert task.get_config()["num_classes"] == 5


def test_after_a_swap_compile_anew():
    task, (x, y) = Classifier(mlp(), 3), examples()
    task.compile("adam", task.default_loss(), metrics=task.default_metrics())
    task.fit(x, y, verbose=0)
    task.swap_head(4)
    with pytest.raises(ValueError, match="compile"):
        task.fit(x, y, verbose=0)
    before = values(task)
    task.compile("adam", task.default_loss(), metrics=task.default_metrics())
    task.fit(x, y, verbose=0)
    assert all(np.abs(a - b).max() > 0 for a, b in zip(before, values(task), strict=True))
    assert task.predict(x, verbose=0).shape == (32, 4)


def test_swapping_to_as_many_classes_gives_a_fresh_head():
    task = Classifier(mlp(), 3)
    before = np.copy(task.head.kernel.numpy())
    task.swap_head()
    assert task.num_classes == 3 and np.abs(before - task.head.kernel.numpy()).max() > 0


def own_head(units=3):
    return keras.Sequential(
        [keras.layers.Dense(7, activation="relu"), keras.layers.Dense(units)], name="deep"
    )


@pytest.mark.parametrize("how", ["given", "swapped"])
def test_a_head_of_ones_own_and_its_file(how, tmp_path):
    task = (
        Classifier(mlp(), 3, head=own_head())
        if how == "given"
        else Classifier(mlp(), 3).swap_head(head=own_head())
    )
    x, _ = examples()
    assert task.head.name == "deep" and len(task.head.weights) == 4
    task.save(tmp_path / "task.keras")
    loaded = keras.models.load_model(tmp_path / "task.keras")
    assert loaded.head.name == "deep" and len(loaded.head.layers) == 2
    np.testing.assert_array_equal(np.asarray(loaded(x)), np.asarray(task(x)))


@pytest.mark.parametrize("cls", [Classifier, Regressor])
def test_a_head_that_does_not_fit_is_refused_and_the_old_one_stays(cls):
    task = cls(mlp(), 3)
    old = task.head
    for head, words in (
        (keras.layers.Dense(4), "needs"),
        ("dense", "Keras layer"),
        (keras.layers.Reshape((2, 2)), "needs"),
    ):
        with pytest.raises(ValueError, match=words):
            task.swap_head(head=head)
    assert task.head is old and task(examples()[0]).shape == (32, 3)


def test_frozen_statistics_do_not_move():
    backbone = backbones.cnn((8, 8, 1), filters=(4,))
    backbone.trainable = False
    task, (x, y) = Classifier(backbone, 3), examples(32, (8, 8, 1))
    before = [np.array(w) for w in backbone.get_weights()]
    task.compile("adam", task.default_loss())
    task.fit(x, y, epochs=2, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, backbone.get_weights(), strict=True))
    assert [v.name for v in task.trainable_variables] == ["kernel", "bias"]


def test_statistics_of_a_trainable_backbone_move():
    backbone = backbones.cnn((8, 8, 1), filters=(4,))
    task, (x, y) = Classifier(backbone, 3), examples(32, (8, 8, 1))
    before = [np.array(w) for w in backbone.get_weights()]
    task.compile("adam", task.default_loss())
    task.fit(x, y, verbose=0)
    assert all(not np.array_equal(a, b) for a, b in zip(before, backbone.get_weights(), strict=True))


@pytest.mark.compute
def test_dropout_and_augmentation_only_while_training():
    view = layers.RandomView(flip=False, seed=1)
    x = examples(4, (8, 8, 1))[0]
    backbone = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    for task in (Classifier(backbone, 3, dropout=0.5), Classifier(backbone, 3, augmentation=view)):
        plain = np.asarray(task.head(np.asarray(task.embed(x))))
        np.testing.assert_allclose(np.asarray(task(x, training=False)), plain, atol=1e-6)
        np.testing.assert_allclose(np.asarray(task(x)), plain, atol=1e-6)
        assert np.abs(np.asarray(task(x, training=True)) - plain).max() > 1e-3


def test_config_holds_the_settings(tmp_path):
    view = layers.RandomView(crop_scale=(0.5, 1.0))
    task = Classifier(
        backbones.cnn((8, 8, 1), filters=(4,)), 3, dropout=0.5, pooling="max", augmentation=view
    )
    task.save(tmp_path / "task.keras")
    loaded = keras.models.load_model(tmp_path / "task.keras")
    assert (loaded.dropout, loaded.pooling, loaded.num_classes) == (0.5, "max", 3)
    assert loaded.augmentation.crop_scale == (0.5, 1.0) and loaded.drop.rate == 0.5


def test_from_a_file_with_a_receipt(tmp_path, capsys):
    backbone = mlp()
    path = weights.save_backbone(
        backbone, tmp_path / "a.weights.h5", objective={"name": "X", "learning_rate": 0.003}
    )
    for source in (path, str(path)):
        task = Classifier(source, num_classes=3)
        assert "100.0% of parameters" in capsys.readouterr().out
        assert all(np.array_equal(a, b) for a, b in zip(values(task.backbone), values(backbone), strict=True))
        assert task.pretraining_learning_rate == 0.003
    assert Classifier(backbone, 3).pretraining_learning_rate is None


def bad_backbones(tmp_path):
    (tmp_path / "text.weights.h5").write_text("not HDF5")
    inputs = keras.Input((8,))
    two = keras.Model(inputs, [keras.layers.Dense(2)(inputs), keras.layers.Dense(3)(inputs)])
    scalar = keras.Model(inputs, keras.ops.sum(inputs, axis=1))
    unknown = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Flatten()])
    return [
        (tmp_path / "none.weights.h5", OSError, "none.weights.h5"),
        (tmp_path / "text.weights.h5", (ValueError, OSError), "text.weights.h5"),
        (None, (ValueError, TypeError, OSError), None),
        (keras.layers.Dense(3), (ValueError, TypeError, OSError), None),
        (keras.Sequential([keras.layers.Dense(3)]), ValueError, "built backbone"),
        (two, ValueError, "one output"),
        (scalar, ValueError, "Cannot pool"),
        (unknown, ValueError, "no fixed size"),
    ]


@pytest.mark.parametrize("number", range(8))
def test_bad_backbones(tmp_path, number):
    backbone, kind, words = bad_backbones(tmp_path)[number]
    with pytest.raises(kind, match=words):
        Classifier(backbone, num_classes=3)


@pytest.mark.parametrize(
    "more, words",
    [({"dropout": 1.0}, "dropout"), ({"dropout": -0.1}, "dropout"), ({"pooling": "sum"}, "pool")],
)
def test_bad_settings(more, words):
    with pytest.raises(ValueError, match=words):
        Classifier(mlp(), 3, **more)


@pytest.mark.parametrize("cls, argument", [(Classifier, "num_classes"), (Regressor, "num_outputs")])
@pytest.mark.parametrize("count", [0, -1, 2.0, "3", True], ids=repr)
def test_bad_counts(cls, argument, count):
    with pytest.raises(ValueError, match=f"{argument} is a whole number"):
        cls(mlp(), count)
    with pytest.raises(ValueError, match=f"{argument} is a whole number"):
        cls(mlp(), 2).swap_head(count)


def test_counts_of_numpy_serve(tmp_path):
    task = Classifier(mlp(), np.arange(3).max() + 1)
    assert task.num_classes == 3 and type(task.num_classes) is int


def test_every_name_is_a_task():
    assert all(issubclass(getattr(tasks, name), Task) for name in tasks.__all__ if name != "SentenceIndex")


def test_the_base_says_what_is_missing():
    task = Task(mlp())
    for method in (task.default_loss, task.default_metrics):
        with pytest.raises(NotImplementedError, match="returns"):
            method()
