import math

import keras
import numpy as np
import pytest

from tftransfer.layers import PositionEmbedding, sincos_positions


def by_loop(grid, width):
    """Each axis has its share of the channels: first all sines, then all cosines."""
    table = np.zeros((math.prod(grid), width))
    half = width // (2 * len(grid))
    for token in range(len(table)):
        for axis, place in enumerate(np.unravel_index(token, grid)):
            for k in range(half):
                angle = place / 10000 ** (k / half)
                table[token, 2 * half * axis + k] = math.sin(angle)
                table[token, 2 * half * axis + half + k] = math.cos(angle)
    return table


@pytest.mark.parametrize("grid, width", [((5,), 8), ((2, 3), 8), ((4, 4), 16), ((3, 2), 10), ((2, 2), 4)])
def test_sines_and_cosines(grid, width):
    table = sincos_positions(grid, width)
    assert table.shape == (math.prod(grid), width) and table.dtype == "float32"
    np.testing.assert_allclose(table, by_loop(grid, width), atol=1e-6)
    assert len(np.unique(table, axis=0)) == math.prod(grid)  # every place has a code of its own


@pytest.mark.parametrize("width", [1, 2, 3, 5, 7])
def test_left_over_channels_are_zero(width):
    table = sincos_positions((2, 2), width)
    assert table.shape == (4, width)
    assert not table[:, 4 * (width // 4) :].any()


@pytest.mark.compute
@pytest.mark.parametrize("learned", [True, False])
def test_layer_adds_the_table(learned):
    layer = PositionEmbedding((2, 3), learned=learned)
    tokens = np.random.default_rng(0).normal(size=(2, 6, 8)).astype("float32")
    np.testing.assert_allclose(np.asarray(layer(tokens)), tokens + sincos_positions((2, 3), 8), atol=1e-6)
    assert [v.name for v in layer.variables] == ["table"]
    assert len(layer.trainable_variables) == learned


def test_another_number_of_tokens_is_refused():
    with pytest.raises(ValueError, match=r"\(2, 3\) places, and 5 tokens"):
        PositionEmbedding((2, 3))(keras.ops.zeros((1, 5, 8)))
