"""Token by token or all at once: the same features, for every causal backbone and for the decoder."""

import keras
import numpy as np
import pytest
from keras import ops

from tftransfer import backbones
from tftransfer.layers import CausalSteps, TextDecoder

pytestmark = pytest.mark.compute

SIZES = {"vocabulary_size": 30, "width": 16, "depth": 2}
KINDS = {
    "gpt": lambda: backbones.gpt((10,), num_heads=2, **SIZES),
    "rotary": lambda: backbones.transformer_text((10,), num_heads=2, causal=True, **SIZES),
    "lstm": lambda: backbones.lstm((10,), dropout=0.2, **SIZES),
    "gru": lambda: backbones.gru((10,), **SIZES),
}
IDS = np.random.default_rng(0).integers(1, 30, (3, 10)).astype("int32")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cuts", [(1,) * 10, (4, 1, 5)], ids=["one by one", "in pieces"])
def test_features_are_those_of_the_whole_text(kind, cuts):
    backbone = KINDS[kind]()
    steps = CausalSteps(backbone)
    cache, first, found = steps.empty(3, 10), 0, []
    for count in cuts:
        features, cache = steps(IDS[:, first : first + count], first, cache)
        found.append(ops.convert_to_numpy(features))
        first += count
    np.testing.assert_allclose(np.concatenate(found, axis=1), backbone(IDS, training=False), atol=2e-5)
    assert steps.at_once == (kind in ("gpt", "rotary"))
    assert steps.max_length == (10 if kind == "gpt" else None)


@pytest.mark.parametrize("kind", ["gpt", "gru"])
def test_what_is_kept_has_one_size_all_along(kind):
    """So that a token costs what the one before did."""
    steps = CausalSteps(KINDS[kind]())
    cache = steps.empty(3, 10)
    shapes = [tuple(x.shape) for x in keras.tree.flatten(cache)]
    for place in range(3):
        _, cache = steps(IDS[:, place : place + 1], place, cache)
        assert [tuple(x.shape) for x in keras.tree.flatten(cache)] == shapes


def test_other_backbones_are_refused():
    for backbone in (
        backbones.bert((10,), num_heads=2, **SIZES),
        backbones.lstm((10,), bidirectional=True, **SIZES),
        backbones.mlp((4,), units=(3,)),
    ):
        with pytest.raises(ValueError, match="cannot be read token by token"):
            CausalSteps(backbone)


def decoder(**settings):
    keras.utils.set_random_seed(0)
    layer = TextDecoder(depth=2, num_heads=2, **settings)
    layer.build((None, None, 16), (None, None, 12))
    return layer


def parts(seed=0):
    draw = np.random.default_rng(seed)
    words, features = draw.normal(size=(2, 5, 16)), draw.normal(size=(2, 7, 12))
    known = np.array([[True] * 7, [True] * 4 + [False] * 3])
    return words.astype("float32"), features.astype("float32"), known


def test_the_decoder_token_by_token():
    layer, (words, features, known) = decoder(), parts()
    whole = layer(words, features, known)
    memory, cache, found = layer.remember(ops.convert_to_tensor(features)), layer.empty(2, 5), []
    for place in range(5):
        y, cache = layer.step(ops.convert_to_tensor(words[:, place : place + 1]), place, cache, memory, known)
        found.append(ops.convert_to_numpy(y))
    np.testing.assert_allclose(np.concatenate(found, axis=1), whole, atol=2e-5)


def test_the_decoder_sees_neither_what_comes_nor_padding():
    layer, (words, features, known) = decoder(), parts()
    said = np.asarray(layer(words, features, known))
    later = words.copy()
    later[:, 3:] += 1
    np.testing.assert_allclose(np.asarray(layer(later, features, known))[:, :3], said[:, :3], atol=1e-5)
    padded = features.copy()
    padded[1, 4:] = 9.0
    np.testing.assert_allclose(layer(words, padded, known), said, atol=1e-5)
    seen = features.copy()
    seen[1, 3] = 9.0
    assert np.abs(np.asarray(layer(words, seen, known))[1] - said[1]).max() > 1e-3


def test_the_decoders_config():
    layer = decoder(dropout=0.1)
    again = TextDecoder.from_config(layer.get_config())
    again.build((None, None, 16), (None, None, 12))
    again.set_weights(layer.get_weights())
    np.testing.assert_allclose(again(*parts()), layer(*parts()), atol=1e-6)
    assert len({v.path for v in again.weights}) == len(again.weights)
