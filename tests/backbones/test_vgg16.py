import keras
import pytest

from tftransfer.backbones import vgg16


def test_published_size():
    assert vgg16((224, 224, 3)).count_params() == 138_357_544 - 123_642_856  # less its three dense layers
    assert vgg16((224, 224, 3)).output_shape == (None, 7, 7, 512)


def test_thirteen_convolutions_in_five_blocks():
    convolutions = [x for x in vgg16((32, 32, 3)).layers if isinstance(x, keras.layers.Conv2D)]
    assert [x.filters for x in convolutions] == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    assert [x.name for x in convolutions][-1] == "block_04_conv_3"


def test_batch_normalization_takes_the_place_of_the_biases():
    filters = 2 * 64 + 2 * 128 + 3 * 256 + 6 * 512
    model = vgg16((32, 32, 3), batch_normalization=True)
    assert model.count_params() == 14_714_688 - filters + 4 * filters
    assert model.get_layer("block_00_norm_1").momentum == 0.9


@pytest.mark.parametrize(("side", "pools"), [(8, 3), (16, 4), (28, 4), (32, 5)])
def test_small_pictures_lose_poolings(side, pools):
    model = vgg16((side, side, 1))
    assert sum(isinstance(x, keras.layers.MaxPooling2D) for x in model.layers) == pools
    assert model.output_shape == (None, 1, 1, 512)


def test_too_small():
    with pytest.raises(ValueError, match="at least 8×8"):
        vgg16((7, 7, 3))
