import numpy as np
import pytest

from tftransfer.backbones import cnn


@pytest.mark.parametrize(("side", "out"), [(4, 2), (5, 2), (8, 2), (16, 2), (28, 4), (32, 4), (64, 8)])
def test_map_never_falls_below_two_pixels(side, out):
    assert cnn((side, side, 1)).output_shape == (None, out, out, 128)


def test_long_pictures_stop_at_their_short_side():
    assert cnn((64, 4, 3)).output_shape == (None, 32, 2, 128)


def test_parameters():
    model = cnn((32, 32, 3))
    kernels = 9 * (3 * 32 + 32 * 64 + 64 * 128)
    assert model.count_params() == kernels + 4 * (32 + 64 + 128)
    assert cnn((8, 8, 1), filters=(16,), kernel_size=5).count_params() == 5 * 5 * 16 + 4 * 16


@pytest.mark.compute
def test_pooling_first_is_pooling_last():
    """Normalisation with positive gamma and relu rise with their input, so they commute with the maximum."""
    model = cnn((8, 8, 1), filters=(4,))
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype("float32")
    conv = np.asarray(model.get_layer("block_00_conv")(x), "float64")
    late = np.maximum(conv / np.sqrt(1 + 1e-5), 0)  # the statistics of a fresh layer: mean 0, variance 1
    late = late.reshape(3, 4, 2, 4, 2, 4).max(axis=(2, 4))
    np.testing.assert_allclose(np.asarray(model(x)), late, atol=1e-5)


def test_bad_arguments():
    with pytest.raises(ValueError, match="at least 4×4"):
        cnn((3, 32, 32))
    with pytest.raises(ValueError, match="filters"):
        cnn((8, 8, 1), filters=())
    with pytest.raises(ValueError, match="kernel_size"):
        cnn((8, 8, 1), kernel_size=0)
