"""Which pixels a place of the features stands for: maps, tokens, vectors; patches cut at the edge."""

import keras
import numpy as np
import pytest
from keras import ops

from tftransfer import backbones
from tftransfer.layers import PlacePatches

pytestmark = pytest.mark.compute


@pytest.mark.parametrize(
    "backbone, grid, size",
    [
        (backbones.cnn((10, 7, 1), filters=(4, 8)), (3, 2), 4),
        (backbones.vit((8, 12, 1), patch_size=4, width=8, depth=1, num_heads=2), (2, 3), 4),
        (backbones.mlp((10, 7, 1), units=(4,)), (1, 1), 10),
    ],
    ids=["map", "tokens", "vector"],
)
def test_moments_are_those_of_the_pixels_that_a_place_has(backbone, grid, size):
    patches = PlacePatches(backbone)
    assert (tuple(patches.grid), patches.size) == (grid, size)
    x = np.random.default_rng(0).normal(3, 2, (2, *backbone.input_shape[1:])).astype("float32")
    mean, variance = map(ops.convert_to_numpy, patches.moments(x))
    assert mean.shape == variance.shape == (*x.shape[:3], 1)
    for top in range(0, x.shape[1], size):
        for left in range(0, x.shape[2], size):
            at = np.s_[:, top : top + size, left : left + size]
            patch = x[at].astype("float64")
            np.testing.assert_allclose(mean[at][:, 0, 0, 0], patch.mean((1, 2, 3)), rtol=1e-5)
            np.testing.assert_allclose(variance[at][:, 0, 0, 0], patch.var((1, 2, 3)), rtol=1e-4)
            assert np.ptp(mean[at], axis=(1, 2)).max() == 0


def test_patches_are_put_together_row_by_row():
    patches = PlacePatches(backbones.cnn((6, 8, 1), filters=(4, 8)))  # 2 × 2 of 4 pixels, two of them cut
    values = np.repeat(np.arange(4, dtype="float32")[None, :, None], 16, axis=2)
    whole = ops.convert_to_numpy(patches.together(ops.convert_to_tensor(values)))[0, :, :, 0]
    expected = np.repeat(np.repeat([[0, 1], [2, 3]], 4, axis=0), 4, axis=1)[:6]
    np.testing.assert_array_equal(whole, expected)


def test_refuses_tokens_that_are_no_grid():
    tokens = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Reshape((32, 2))])
    with pytest.raises(ValueError, match="do not form a grid"):
        PlacePatches(tokens)
