"""BatchNormalization is synchronized exactly where it must be."""

import copy

import keras
import numpy as np
import pytest
from keras import layers

from tftransfer import placement


def model():
    inner = keras.Sequential([keras.Input((6,)), layers.BatchNormalization(name="inner")], name="nested")
    inputs = keras.Input((6,))
    return keras.Model(inputs, layers.BatchNormalization(name="outer")(inner(inputs)))


def flags(nest):
    if isinstance(nest, dict):
        own = [nest["config"]["synchronized"]] if nest.get("class_name") == "BatchNormalization" else []
        return own + [f for v in nest.values() for f in flags(v)]
    return [f for v in nest for f in flags(v)] if isinstance(nest, (list, tuple)) else []


@pytest.mark.compute
def test_config_from_elsewhere_loads_here():
    config = keras.saving.serialize_keras_object(model())
    for elsewhere in (True, False):
        text = copy.deepcopy(config)
        for layer in text["config"]["layers"]:
            if layer["class_name"] == "BatchNormalization":
                layer["config"]["synchronized"] = elsewhere
        before = copy.deepcopy(text)
        adapted = placement.adapt_batch_normalization(text)
        assert text == before and flags(adapted) == [False, False]
        keras.saving.deserialize_keras_object(adapted)


def test_replicas_need_it(mirrored):
    config = keras.saving.serialize_keras_object(model())
    with mirrored.scope():
        assert flags(placement.adapt_batch_normalization(config)) == [True, True]
        built = placement.adapt_batch_normalization(model())
    assert built.get_layer("outer").synchronized and built.get_layer("nested").get_layer("inner").synchronized
    placement.adapt_batch_normalization(built)
    assert not built.get_layer("outer").synchronized


def test_moving_statistics_agree(one_device, mirrored, train, examples):
    class Standardised(placement.PlacedModel):
        def __init__(self):
            super().__init__()
            self.body = model()  # a user's own, not synchronized

        def call(self, x, training=False):
            return self.body(x, training=training)

    x, y, *_ = examples
    target = keras.ops.one_hot(y, 6)
    both = [
        train(s, Standardised, x, target, compile_with=lambda: {"loss": "mse"})
        for s in (one_device, mirrored)
    ]
    for one, two in zip(*[model.get_weights() for model, _ in both], strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)
