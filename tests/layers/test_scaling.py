import keras
import pytest

from tftransfer.layers import default_view, rescales_pixels


def rescaling():
    return keras.layers.Rescaling(1 / 255)


@pytest.mark.compute
def test_found_at_any_depth():
    inner = keras.Sequential([keras.Input((8, 8, 3)), rescaling(), keras.layers.Flatten()])
    inputs = keras.Input((8, 8, 3))
    middle = keras.Model(inputs, inner(inputs))
    outer = keras.Sequential([keras.Input((8, 8, 3)), middle, keras.layers.Dense(2)])
    assert rescales_pixels(inner) and rescales_pixels(middle) and rescales_pixels(outer)
    assert rescales_pixels(rescaling())


@pytest.mark.compute
def test_not_found():
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.BatchNormalization(), keras.layers.Flatten()]
    )
    assert not rescales_pixels(model)
    assert not rescales_pixels(keras.layers.Dense(2))


def test_keras_applications():
    sizes = {"input_shape": (32, 32, 3), "weights": None, "include_top": False}
    assert rescales_pixels(keras.applications.MobileNetV3Small(**sizes))
    assert not rescales_pixels(keras.applications.MobileNetV2(**sizes))


def test_the_default_view_keeps_the_range_that_the_model_reads():
    own = keras.Sequential([keras.Input((8, 8, 3)), rescaling()])
    assert default_view(own).value_range == (0.0, 255.0)
    assert default_view(keras.Sequential([keras.Input((8, 8, 3))])).value_range == (0.0, 1.0)
