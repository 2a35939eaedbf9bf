"""Training that keeps less and computes the same."""

import contextlib
import math

import keras
import numpy as np
import pytest

from tftransfer import backbones, objectives, placement
from tftransfer.layers import rematerialize


def pictures(rows=8):
    return np.random.default_rng(0).random((rows, 16, 16, 3), "float32")


def net():
    """Residual, with dropout, a model inside, and a frozen layer."""
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", name="conv_1")(inputs)
    x = keras.layers.BatchNormalization(momentum=0.9, name="norm_1")(x)
    y = keras.layers.Dropout(0.3, seed=1, name="drop")(keras.layers.ReLU(name="relu_1")(x))
    y = keras.layers.Conv2D(4, 3, padding="same", name="conv_2")(y)
    x = keras.layers.Add(name="sum")([x, y])
    inner = keras.Sequential(
        [
            keras.Input((16, 16, 4)),
            keras.layers.Conv2D(5, 3, name="conv_3"),
            keras.layers.BatchNormalization(momentum=0.9, name="norm_3"),
            keras.layers.Conv2D(6, 3, name="conv_4"),
        ],
        name="inner",
    )
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D(name="mean")(inner(x)), name="net")
    model.get_layer("conv_1").trainable = False
    return model


def trained(build, again, steps=3, policy="float32"):
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(policy)
    try:
        backbone = build()
        if again:
            assert rematerialize(backbone) is backbone
        objective = objectives.Autoencoder(backbone, seed=0)
        objective.compile(keras.optimizers.SGD(0.1), jit_compile=False)
        losses = [objective.train_on_batch(pictures()) for _ in range(steps)]
    finally:
        keras.config.set_dtype_policy("float32")
    return backbone, losses


@pytest.mark.compute
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(
    "build", [net, lambda: backbones.vit((16, 16, 3), patch_size=4, width=16, depth=2, num_heads=2)]
)
def test_training_gives_the_same_weights_and_statistics(build, policy):
    one, other = (trained(build, again, policy=policy) for again in (False, True))
    np.testing.assert_allclose(other[1], one[1], rtol=1e-5 if policy == "float32" else 2e-2)
    start = build()
    moved = 0
    for a, b, c in zip(one[0].variables, other[0].variables, start.variables, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        np.testing.assert_allclose(b, a, atol=1e-5 if policy == "float32" else 2e-2, err_msg=c.path)
        moved += "moving" in c.path and np.abs(a - np.asarray(c)).max() > 1e-3
    assert moved == 2 * sum("moving_mean" in v.path for v in start.variables)


@pytest.mark.compute
def test_predictions_and_configuration_are_those_of_the_plain_model():
    plain = net()
    config, expected = plain.get_config(), plain(pictures())
    changed = rematerialize(plain)
    np.testing.assert_allclose(changed(pictures()), expected, atol=1e-6)
    assert changed.get_config() == config
    rematerialize(changed)  # once more changes nothing
    assert changed(pictures(2), training=True).shape == (2, 6)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="about TensorFlow's tape")
def test_what_lies_inside_a_part_is_not_kept():
    import tensorflow as tf

    kept = {}
    for again in (False, True):
        model = backbones.resnet18((16, 16, 3))
        if again:
            rematerialize(model)
        names = set()

        @tf.function
        def gradients(x, model=model):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(model(x, training=True) ** 2)
            names.update(o.name for o in tf.compat.v1.get_default_graph().get_operations())  # noqa: B023
            return tape.gradient(loss, model.trainable_variables)

        graph = gradients.get_concrete_function(tf.zeros((2, 16, 16, 3))).graph
        back = [operation for operation in graph.get_operations() if operation.name not in names]
        read = {tensor.name: tensor.shape for operation in back for tensor in operation.inputs}
        maps = [shape for name, shape in read.items() if name.split(":")[0] in names and shape.rank == 4]
        kept[again] = sum(math.prod(shape) for shape in maps if shape[0] == 2)
    assert 0 < kept[True] < 0.35 * kept[False]


def test_models_that_cannot_be_cut_are_refused():
    two = keras.Input((2,)), keras.Input((2,))
    with pytest.raises(ValueError, match="one input and one output"):
        rematerialize(keras.Model(two, keras.layers.Add()(two)))
    with pytest.raises(ValueError, match="one input and one output"):
        rematerialize(keras.layers.Dense(2))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute")
def test_two_replicas_give_the_weights_of_one_device():
    weights = []
    for scope in (contextlib.nullcontext(), placement.strategy("mirrored", verbose=False).scope()):
        keras.utils.set_random_seed(0)
        with scope:
            backbone = rematerialize(backbones.cnn((16, 16, 3), filters=(4, 8)))
            objective = objectives.Autoencoder(backbone, seed=0)
            objective.compile(keras.optimizers.SGD(0.5), jit_compile=False)
        objective.fit(pictures(16), batch_size=8, shuffle=False, verbose=0)
        weights.append(backbone.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5)
