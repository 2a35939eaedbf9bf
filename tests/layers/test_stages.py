"""The two stages of a token backbone, and what is said where they are not."""

import keras
import numpy as np
import pytest

from tftransfer import backbones
from tftransfer.layers import token_stages

SAYS = {"objective": "IJEPA", "instead": "SimMIM"}


def test_the_two_stages_are_the_backbone():
    vit = backbones.vit((8, 8, 1), patch_size=4, width=8, depth=1, num_heads=1)
    embedder, trunk = token_stages(vit, **SAYS)
    x = np.random.default_rng(0).random((2, 8, 8, 1)).astype("float32")
    np.testing.assert_allclose(trunk(embedder(x)), vit(x), atol=1e-6)


def test_a_table_has_stages_where_pictures_are_not_demanded():
    table = backbones.table_transformer((4,), width=8, depth=1, num_heads=1)
    assert [part.name for part in token_stages(table, **SAYS, pictures=False)] == ["embedder", "trunk"]
    with pytest.raises(ValueError, match=r"IJEPA hides patches of pictures.*\(None, 4\)"):
        token_stages(table, **SAYS)


def test_other_backbones_are_refused_with_what_to_use_instead():
    with pytest.raises(ValueError, match=r"IJEPA hides tokens.*no such layers.*vit.*SimMIM"):
        token_stages(backbones.cnn((8, 8, 1), filters=(4,)), **SAYS)
    x = keras.Input((8, 8, 1))
    maps = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)], name="embedder")
    with pytest.raises(
        ValueError, match=r"its embedder gives \(None, 6, 6, 2\).*tokens \(batch, tokens, width\)"
    ):
        token_stages(keras.Model(x, keras.layers.ReLU(name="trunk")(maps(x))), **SAYS)
    layer = keras.layers.Conv2D(2, 3, name="embedder")
    with pytest.raises(ValueError, match=r"no known shape.*a model of its own"):
        token_stages(keras.Model(x, keras.layers.ReLU(name="trunk")(layer(x))), **SAYS)
