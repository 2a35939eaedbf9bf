"""A frozen beginning runs once: the halves are the whole, bit for bit, and training ends with the same weights."""

import keras
import numpy as np
import pytest

import tftransfer as tt
from tftransfer.finetuning import features, finetune, prefix
from tftransfer.policies import Stage, gradual
from tftransfer.tasks import Classifier

from .test_features import Slow

layers = keras.layers


def residual():
    """Two residual blocks; the second with a projection beside it."""
    inputs = keras.Input((6, 6, 1))
    x = layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    for name, width in (("one", 4), ("two", 6)):
        y = layers.Conv2D(width, 3, padding="same", name=f"{name}_conv")(x)
        y = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(y)
        beside = x if width == 4 else layers.Conv2D(width, 1, name=f"{name}_beside")(x)
        x = layers.ReLU(name=f"{name}_relu")(layers.Add()([beside, y]))
    return keras.Model(inputs, x, name="residual")


def token():
    return tt.backbones.vit((6, 6, 1), patch_size=2, width=8, depth=3, num_heads=2)


def stacked():
    return tt.backbones.cnn((6, 6, 1), filters=(4, 6))


def freeze(model, pattern):
    import re

    for path, variable in tt.weights.variable_paths(model).items():
        variable.trainable &= not re.search(pattern, path)
    for layer in model._flatten_layers():
        if not any(variable.trainable for variable in layer.weights) and layer.weights:
            layer.trainable = False


@pytest.mark.compute
@pytest.mark.parametrize(
    ("build", "frozen", "expected"),
    [
        (residual, "^(stem|one)", {"stem", "one_conv", "one_norm"}),
        (residual, "^(stem|one|two_conv)", {"stem", "one_conv", "one_norm"}),  # the branch is not yet an end
        (token, "^(embedder|trunk/block_0[01])", {"embedder", "block_00", "block_01"}),
        (token, "^trunk/block_00", set()),
        (stacked, "^block_00", {"block_00_conv", "block_00_norm"}),
    ],
)
def test_the_halves_make_the_whole(build, frozen, expected, data):
    backbone = build()
    freeze(backbone, frozen)
    before, behind = prefix.split(backbone)
    frozen_ids = {id(v) for part in before for v in part.weights}
    names = {p.split("/")[-2] for p, v in tt.weights.variable_paths(backbone).items() if id(v) in frozen_ids}
    for name in expected - {"embedder"}:
        assert any(name in found for found in names) or build is token
    assert bool(before) == bool(expected)
    kept = {id(v) for part in behind for v in part.weights}
    assert frozen_ids | kept == {id(v) for v in backbone.weights} and not frozen_ids & kept
    assert not any(v.trainable for part in before for v in part.weights)
    x = keras.ops.convert_to_tensor(data[0])
    for part in [*before, *behind]:
        x = part(x, training=False)
    np.testing.assert_array_equal(x, backbone(data[0], training=False))


def test_dropout_and_live_normalization_end_the_frozen_beginning():
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(4), layers.Dropout(0.5), layers.Dense(4), layers.Dense(3)]
    )
    for layer in model.layers[:-1]:
        layer.trainable = False
    before, _ = prefix.split(model)
    assert len(before[0].weights) == 2
    model = keras.Sequential([keras.Input((4,)), layers.BatchNormalization(), layers.Dense(4)])
    assert prefix.split(model) == ([], [model])


@pytest.mark.compute
@pytest.mark.parametrize(
    ("build", "rules"),
    [
        (residual, {"^backbone/(stem|one)": 0.0, ".*": 1.0}),
        (token, {"^backbone/(embedder|trunk/block_0[01])": 0.0, ".*": 1.0}),
        (stacked, {"^backbone/block_00": 0.0, ".*": 1.0}),
    ],
)
def test_same_weights_as_running_it_in_every_step(build, rules, data, validation, capsys):
    weights = []
    for kind in (Classifier, Slow):
        keras.utils.set_random_seed(3)
        task = kind(build(), num_classes=3)
        stage = Stage("top", rules, epochs=3, learning_rate=1e-3)
        sgd = keras.optimizers.SGD(
            momentum=0.9
        )  # Adam makes much of gradients that are zero but for rounding
        finetune(task, data, validation_data=validation, policy=stage, batch_size=8, optimizer=sgd, verbose=2)
        weights.append(task.get_weights())
        said = "the features of what is frozen computed once" in capsys.readouterr().out
        assert said == (kind is Classifier)
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_gradual_unfreezing_needs_less_and_less_beforehand(data, monkeypatch):
    sizes = []
    plain = features.embed

    def counted(embedder, *args, **kwargs):
        sizes.append(sum(len(part.weights) for part in embedder.parts))
        return plain(embedder, *args, **kwargs)

    monkeypatch.setattr(features, "embed", counted)
    keras.utils.set_random_seed(3)
    finetune(Classifier(token(), num_classes=3), data, policy=gradual(4, epochs=1), verbose=0)
    assert len(sizes) == 3 and sizes == sorted(sizes, reverse=True)


def test_why_it_ends_where_it_does():
    model = stacked()
    freeze(model, "block")
    assert prefix.why_it_ends(model) is None
    model.get_layer("block_01_norm").trainable = True
    model.get_layer("block_01_norm").gamma.trainable = False
    model.get_layer("block_01_norm").beta.trainable = False
    assert prefix.why_it_ends(model) == "the BatchNormalization block_01_norm is live"
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(4), layers.Dropout(0.5, name="off"), layers.Dense(3)]
    )
    freeze(model, "dense")
    assert "off draws random numbers" in prefix.why_it_ends(model)
    assert prefix.why_it_ends(model, drawn=True) is None
    assert prefix.split(model, drawn=True) == ([model], [])
