"""The masked autoencoder's decoder: every token at its own place, and the gaps filled alike."""

import keras
import numpy as np
import pytest
from keras import ops

from tftransfer.layers import PatchDecoder
from tftransfer.layers.positions import sincos_positions

ORDER = np.array([[2, 0, 3, 1], [1, 3, 0, 2]])  # places, the visible ones first
RESTORE = np.argsort(ORDER, axis=1)


def decoder(depth=0):
    keras.utils.set_random_seed(0)
    made = PatchDecoder((2, 2), values=3, width=8, depth=depth, num_heads=2)
    made.build((None, 2, 5))
    return made


@pytest.mark.compute
def test_without_blocks_it_is_the_projection_of_what_stands_at_each_place():
    layer, visible = decoder(), np.random.default_rng(0).normal(size=(2, 2, 5)).astype("float32")
    found = ops.convert_to_numpy(layer(visible, RESTORE))
    seen = visible @ ops.convert_to_numpy(layer.embed.kernel) + ops.convert_to_numpy(layer.embed.bias)
    tokens = np.tile(ops.convert_to_numpy(layer.mask_token), (2, 4, 1))
    for row in range(2):
        for rank in range(2):
            tokens[row, ORDER[row, rank]] = seen[row, rank]
    tokens = tokens + ops.convert_to_numpy(sincos_positions((2, 2), 8))
    normed = (tokens - tokens.mean(-1, keepdims=True)) / np.sqrt(tokens.var(-1, keepdims=True) + 1e-6)
    expected = normed @ ops.convert_to_numpy(layer.pixels.kernel) + ops.convert_to_numpy(layer.pixels.bias)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_blocks_carry_what_is_seen_to_the_gaps():
    visible = np.random.default_rng(0).normal(size=(2, 2, 5)).astype("float32")
    changed = visible.copy()
    changed[0, 0] += 1
    for depth in (0, 1):
        a, b = (ops.convert_to_numpy(decoder(depth)(v, RESTORE)) for v in (visible, changed))
        moved = np.abs(a - b).max(axis=-1) > 1e-5  # (2, 4)
        assert moved[0].tolist() == ([False, False, True, False] if depth == 0 else [True] * 4)
        assert not moved[1].any()
