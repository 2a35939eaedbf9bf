"""Attention to another text by hand; a decoder that looks at the past and at what is no padding."""

import keras
import numpy as np
import pytest
from keras import ops

from tftransfer.layers import CrossAttention, TextDecoder

RANDOM = np.random.default_rng(0)
WORDS = RANDOM.normal(size=(2, 5, 8)).astype("float32")
FEATURES = RANDOM.normal(size=(2, 4, 6)).astype("float32")
KNOWN = np.array([[True, True, True, False], [True, False, False, False]])


@pytest.fixture(scope="module")
def decoder():
    keras.utils.set_random_seed(0)
    made = TextDecoder(depth=2, num_heads=2)
    made.build((None, None, 8), (None, None, 6))
    return made


def test_cross_attention_by_hand():
    layer = CrossAttention(2)
    layer.build((None, None, 8), (None, None, 6))
    parts = (layer.query, layer.key_value, layer.projection)
    (wq, bq), (wkv, bkv), (wp, bp) = ([ops.convert_to_numpy(v) for v in (p.kernel, p.bias)] for p in parts)
    expected = np.zeros((2, 5, 8))
    for row in range(2):
        q, (k, v) = WORDS[row] @ wq + bq, np.split(FEATURES[row][KNOWN[row]] @ wkv + bkv, 2, axis=-1)
        for head in (slice(0, 4), slice(4, 8)):
            scores = np.exp(q[:, head] @ k[:, head].T / 2)  # the root of 4
            expected[row, :, head] = scores / scores.sum(axis=1, keepdims=True) @ v[:, head]
    np.testing.assert_allclose(layer(WORDS, FEATURES, KNOWN), expected @ wp + bp, atol=1e-5)


def test_padding_of_the_encoder_and_later_words_do_not_count(decoder):
    said = ops.convert_to_numpy(decoder(WORDS, FEATURES, KNOWN))
    other = FEATURES + 3 * ~KNOWN[..., None]
    np.testing.assert_allclose(decoder(WORDS, other.astype("float32"), KNOWN), said, atol=1e-5)
    later = WORDS.copy()
    later[:, 3:, 0] += 1  # one channel: norms take away what all share
    now = ops.convert_to_numpy(decoder(later, FEATURES, KNOWN))
    np.testing.assert_allclose(now[:, :3], said[:, :3], atol=1e-5)
    assert np.abs(now[:, 3:] - said[:, 3:]).max() > 0.01
    seen = FEATURES + KNOWN[..., None].astype("float32")
    assert np.abs(ops.convert_to_numpy(decoder(WORDS, seen, KNOWN)) - said).max() > 0.01


def test_word_by_word_is_the_same_as_all_at_once(decoder):
    memory, cache, found = decoder.remember(FEATURES), decoder.empty(2, 5), []
    for first, count in ((0, 2), (2, 1), (3, 2)):
        step, cache = decoder.step(WORDS[:, first : first + count], first, cache, memory, KNOWN)
        found.append(ops.convert_to_numpy(step))
    np.testing.assert_allclose(np.concatenate(found, axis=1), decoder(WORDS, FEATURES, KNOWN), atol=1e-5)


def test_dropout_is_for_training_alone():
    made = TextDecoder(depth=1, num_heads=2, dropout=0.5)
    made.build((None, None, 8), (None, None, 6))
    still = [ops.convert_to_numpy(made(WORDS, FEATURES, KNOWN, training=False)) for _ in range(2)]
    np.testing.assert_array_equal(*still)
    drawn = ops.convert_to_numpy(made(WORDS, FEATURES, KNOWN, training=True))
    assert np.abs(drawn - still[0]).max() > 0.01
