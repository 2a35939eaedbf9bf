import keras
import numpy as np
import pytest

from tftransfer.backbones import vit


def parameters(side, channels, patch, width, depth, mlp_ratio=4):
    """By hand: patches, positions, blocks (two norms, qkv, projection, perceptron), the last norm."""
    tokens, hidden = (side // patch) ** 2, mlp_ratio * width
    patches = patch * patch * channels * width + width
    norms = 2 * 2 * width
    attention = width * 3 * width + 3 * width + width * width + width
    perceptron = width * hidden + hidden + hidden * width + width
    return patches + tokens * width + depth * (norms + attention + perceptron) + 2 * width


@pytest.mark.parametrize(
    "width, heads, published",
    [
        (192, 3, 5_717_416),  # DeiT's and timm's tiny, 224 pixels, patches of 16, 1000 classes
        pytest.param(768, 12, 86_567_656, marks=pytest.mark.slow),  # base
    ],
)
def test_published_sizes(width, heads, published):
    with keras.StatelessScope(initialize_variables=False):  # sizes without values: no memory is taken
        model = vit((224, 224, 3), width=width, num_heads=heads)
        count = sum(int(np.prod(v.shape)) for v in model.variables)
    keras.backend.clear_session()
    class_token_and_its_place, head = 2 * width, width * 1000 + 1000
    assert count == parameters(224, 3, 16, width, 12) == published - class_token_and_its_place - head


@pytest.mark.parametrize("side, patch", [(8, 2), (15, None), (16, 4), (28, 4), (32, 4), (60, 4), (64, 16)])
def test_patch_size_that_suits_the_picture(side, patch):
    if patch is None:
        with pytest.raises(ValueError, match="does not divide into patches of 2×2"):
            vit((side, side, 1), width=8, depth=1, num_heads=2)
    else:
        model = vit((side, side, 1), width=8, depth=1, num_heads=2)
        assert model.output_shape == (None, (side // patch) ** 2, 8)
        assert model.count_params() == parameters(side, 1, patch, 8, 1)


def small():
    return vit((8, 12, 3), patch_size=4, width=16, depth=2, num_heads=2)


def test_trunk_takes_any_number_of_tokens():
    model, x = small(), np.random.default_rng(0).random((2, 8, 12, 3), dtype="float32")
    embedder, trunk = model.get_layer("embedder"), model.get_layer("trunk")
    tokens = embedder(x)
    assert tokens.shape == (2, 6, 16)
    np.testing.assert_allclose(np.asarray(trunk(tokens)), np.asarray(model(x)), atol=1e-5)
    for n in (1, 3, 11):
        assert trunk(np.ones((2, n, 16), "float32")).shape == (2, n, 16)
    order = [4, 1, 3, 0, 5, 2]  # places are in the embedder: the trunk treats tokens as a set
    mixed = keras.ops.take(tokens, order, axis=1)
    np.testing.assert_allclose(np.asarray(trunk(mixed)), np.asarray(model(x))[:, order], atol=1e-5)


@pytest.mark.compute
def test_features_are_normalised_tokens():
    features = np.asarray(small()(np.random.default_rng(0).random((2, 8, 12, 3), dtype="float32")))
    np.testing.assert_allclose(features.mean(-1), 0, atol=1e-5)
    np.testing.assert_allclose(features.std(-1), 1, atol=1e-3)


def test_places_matter():
    x = np.random.default_rng(0).random((1, 8, 12, 3), dtype="float32")
    moved = np.concatenate([x[:, 4:], x[:, :4]], axis=1)
    a, b = (np.asarray(small()(v)).mean(axis=1) for v in (x, moved))
    assert np.abs(a - b).max() > 1e-3


def test_names_sort_and_settings_arrive():
    model = vit((8, 8, 1), width=8, depth=11, num_heads=2, mlp_ratio=2.0, dropout=0.1, name="mine")
    blocks = [layer for layer in model.get_layer("trunk").layers if layer.name.startswith("block")]
    assert model.name == "mine" and [b.name for b in blocks] == sorted(b.name for b in blocks)
    assert len(blocks) == 11 and blocks[10].name == "block_10"
    assert all((b.num_heads, b.mlp_ratio, b.dropout, b.causal) == (2, 2.0, 0.1, False) for b in blocks)


@pytest.mark.parametrize(
    "shape, more, words",
    [
        (28, {}, r"vit takes input_shape=\(height, width, channels\); received 28"),
        ((28, 28), {}, "no channel axis"),
        ((28, 28, 1.5), {}, "input_shape"),
        ((8, 8, 1), {"width": 10, "num_heads": 4}, "width=10 does not divide by num_heads=4"),
        ((8, 8, 1), {"patch_size": 3}, "does not divide into patches of 3×3"),
        ((8, 8, 1), {"patch_size": 16}, "smaller than a patch of 16"),
        ((8, 8, 1), {"depth": 0}, "depth"),
        ((8, 8, 1), {"width": "wide"}, "width"),
        ((8, 8, 1), {"num_heads": 2.5}, "num_heads"),
        ((8, 8, 1), {"patch_size": -2}, "patch_size"),
    ],
)
def test_bad_arguments(shape, more, words):
    with pytest.raises(ValueError, match=words):
        vit(shape, **more)


def test_numbers_of_numpy_and_lists_serve():
    model = vit([np.int64(8), 8, 1], width=np.int32(8), depth=np.int64(1), num_heads=2)
    assert model.output_shape == (None, 16, 8)
