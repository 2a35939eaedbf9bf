import keras
import numpy as np
import pytest

from tftransfer.backbones.shapes import picture_shape, sizes


def test_numpy_sizes_become_python_ints():
    shape = picture_shape(np.zeros((28, 28, 1)).shape, builder="cnn")
    assert picture_shape(list(np.array([28, 28, 1])), builder="cnn") == shape == (28, 28, 1)
    assert all(type(size) is int for size in picture_shape(tuple(np.array([28, 28, 1])), builder="cnn"))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (28, r"received 28.*cnn\(\(32, 32, 3\)\)"),
        ("28", "received '28'"),
        (None, "received None"),
        ((28, 28), r"no channel axis.*cnn\(\(28, 28, 1\)\)"),
        ((1, 28, 28, 1), r"without the batch axis; received \(1, 28, 28, 1\)"),
        ((28, 28, True), "whole numbers above 0"),
        ((28.0, 28, 1), "whole numbers above 0"),
        ((None, None, 3), "Resize"),
        ((3, 32, 32), "channels come first"),
    ],
)
def test_message_says_what_to_do(shape, message):
    with pytest.raises(ValueError, match=message):
        picture_shape(shape, builder="cnn", smallest=4)


def test_channels_first_setting_is_refused():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="set_image_data_format"):
            picture_shape((28, 28, 1), builder="cnn")
    finally:
        keras.config.set_image_data_format("channels_last")


@pytest.mark.parametrize("values", [(), 32, (32, 0), (32.0,), "32", None, (32, True)])
def test_bad_sizes(values):
    with pytest.raises(ValueError, match="cnn takes filters"):
        sizes(values, builder="cnn", argument="filters")


def test_sizes_become_python_ints():
    checked = sizes(list(np.array([32, 64])), builder="cnn", argument="filters")
    assert checked == (32, 64)
    assert all(type(value) is int for value in checked)
