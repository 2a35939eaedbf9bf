import keras
import pytest

from tftransfer.layers import default_view, greatest_pixel, rescales_pixels
from tftransfer.objectives import GAN, BiGAN, VariationalAutoencoder


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


@pytest.mark.compute
def test_a_layer_that_reads_what_is_in_0_and_1_is_none():
    for scale, found in (
        (2.0, False),
        (1 / 127.5, True),
        ([1 / 255, 1 / 128, 1 / 127], True),
        ([4.4, 4.5, 4.4], False),
    ):
        model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(scale, offset=-1.0)])
        assert rescales_pixels(model) == found
        assert greatest_pixel(model) == (255.0 if found else 1.0)


def test_what_is_made_in_0_and_1_takes_no_backbone_that_reads_bytes():
    own = keras.Sequential([keras.Input((8, 8, 3)), rescaling(), keras.layers.Flatten()])
    for cls in (VariationalAutoencoder, GAN, BiGAN):
        with pytest.raises(
            ValueError, match=rf"{cls.__name__} makes examples.*0 to 255.*Leave that layer out"
        ):
            cls(own)


def test_keras_applications():
    sizes = {"input_shape": (32, 32, 3), "weights": None, "include_top": False}
    assert rescales_pixels(keras.applications.MobileNetV3Small(**sizes))
    assert not rescales_pixels(keras.applications.MobileNetV2(**sizes))


def test_the_default_view_keeps_the_range_that_the_model_reads():
    own = keras.Sequential([keras.Input((8, 8, 3)), rescaling()])
    assert default_view(own).value_range == (0.0, 255.0)
    assert default_view(keras.Sequential([keras.Input((8, 8, 3))])).value_range == (0.0, 1.0)
