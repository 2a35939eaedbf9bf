"""Losses and figures over tokens: the formulas in float64, padding, documents, and replicas of uneven rows."""

import keras
import numpy as np
import pytest
from keras import ops

from tftransfer.layers import (
    Perplexity,
    TokenAccuracy,
    TokenCrossentropy,
    bits_per_byte,
    next_tokens,
    token_means,
)

pytestmark = pytest.mark.compute

LABELS = np.array([[2, -1, 0, 1], [-1, -1, -1, -1], [1, 1, -1, -1]])
LOGITS = np.random.default_rng(0).normal(size=(3, 4, 3)).astype("float32")


def nats(logits=LOGITS):
    z = logits.astype("float64")
    p = z - np.log(np.exp(z).sum(-1, keepdims=True))
    return [-p[b, t, LABELS[b, t]] for b in range(3) for t in range(4) if LABELS[b, t] >= 0]


def test_loss_is_the_mean_over_labelled_tokens():
    assert float(TokenCrossentropy()(LABELS, LOGITS)) == pytest.approx(np.mean(nats()), rel=1e-5)
    assert float(TokenCrossentropy()(np.full_like(LABELS, -1), LOGITS)) == 0


def test_what_is_not_labelled_has_no_say():
    changed = np.where((LABELS >= 0)[..., None], LOGITS, 1e4 * LOGITS)
    assert float(TokenCrossentropy()(LABELS, changed)) == pytest.approx(
        float(TokenCrossentropy()(LABELS, LOGITS))
    )


def test_smoothing_is_keras_own_on_one_hot_rows():
    rows = [(LABELS[b, t], LOGITS[b, t]) for b in range(3) for t in range(4) if LABELS[b, t] >= 0]
    y, z = np.eye(3)[[r[0] for r in rows]], np.stack([r[1] for r in rows])
    stock = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)(y, z)
    assert float(TokenCrossentropy(0.1)(LABELS, LOGITS)) == pytest.approx(float(stock), rel=1e-5)
    with pytest.raises(ValueError, match="label_smoothing"):
        TokenCrossentropy(1.0)


def test_accuracy_and_perplexity():
    accuracy, perplexity = TokenAccuracy(), Perplexity()
    for part in (slice(0, 1), slice(1, 3)):  # batches with different numbers of tokens
        accuracy.update_state(LABELS[part], LOGITS[part])
        perplexity.update_state(LABELS[part], LOGITS[part])
    right = [(LOGITS.argmax(-1) == LABELS)[b, t] for b in range(3) for t in range(4) if LABELS[b, t] >= 0]
    assert float(accuracy.result()) == pytest.approx(np.mean(right))
    assert float(perplexity.result()) == pytest.approx(np.exp(np.mean(nats())), rel=1e-5)


def test_even_logits_hesitate_among_all():
    perplexity = Perplexity()
    perplexity.update_state(LABELS, np.zeros_like(LOGITS))
    assert float(perplexity.result()) == pytest.approx(3, rel=1e-6)


def test_token_means_average_to_the_mean_over_tokens():
    mask = ops.convert_to_tensor((LABELS >= 0).astype("float32"))
    errors = ops.convert_to_tensor(LOGITS[..., 0])
    mean = LOGITS[..., 0][LABELS >= 0].mean()
    assert float(ops.mean(token_means(errors, mask))) == pytest.approx(mean, rel=1e-5)


def test_targets_stop_at_documents_and_padding():
    ids = np.array([[5, 6, 3, 7, 3, 0, 0], [5, 6, 7, 8, 9, 10, 11]])
    expected = [[6, 3, -1, 3, -1, -1], [6, 7, 8, 9, 10, 11]]
    assert np.asarray(next_tokens(ids, end_id=3)).tolist() == expected
    assert np.asarray(next_tokens(ids)).tolist()[0] == [6, 3, 7, 3, -1, -1]


def test_bits_per_byte():
    bits, count = bits_per_byte(
        ops.convert_to_tensor([np.log(2.0), np.log(4.0)]), ops.convert_to_tensor([1, 2])
    )
    assert float(bits) == pytest.approx(1) and float(count) == 3
