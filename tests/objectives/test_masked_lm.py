"""Masked language model: the loss by hand, the tied table, whole words, padding, and what is refused."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.objectives.conftest import texts, tiny_backbone, tiny_tokenization
from tftransfer import backbones
from tftransfer.layers import word_table
from tftransfer.objectives import MaskedLM


def bare(**settings):
    return backbones.bert((12,), vocabulary_size=30, width=16, depth=1, num_heads=2, **settings)


@pytest.fixture
def objective():
    keras.utils.set_random_seed(0)
    return MaskedLM(tiny_backbone("bert"), mask_ratio=0.3)


@pytest.mark.compute
def test_loss_is_the_cross_entropy_of_the_hidden_tokens(objective):
    objective.bias.assign(np.random.default_rng(0).normal(size=29))
    out = {name: np.asarray(value, "float64") for name, value in objective(texts()).items()}
    targets = out["targets"].astype(int)
    z = out["logits"] - np.log(np.exp(out["logits"]).sum(-1, keepdims=True))
    by_hand = -np.mean([z[b, k, t] for (b, k), t in np.ndenumerate(targets) if t >= 0])
    assert float(objective.compute_objective(objective(texts()))) > 0  # other masks, another loss
    nats = ops.convert_to_tensor(out["nats"], "float32")
    loss = objective.compute_objective({"nats": nats, "targets": targets})
    assert float(loss) == pytest.approx(by_hand, rel=1e-5)


def test_logits_are_products_with_the_word_table_at_the_hidden_places_only(objective):
    logits = objective(texts())["logits"]
    assert tuple(logits.shape) == (32, 4, 29)  # 4 of 12 places
    vectors = np.random.default_rng(0).normal(size=(3, 16)).astype("float32")
    expected = vectors @ np.asarray(word_table(objective.backbone)).T
    np.testing.assert_allclose(objective.tied_logits(ops.convert_to_tensor(vectors)), expected, atol=1e-5)
    assert sum(v.shape == (29, 16) for v in objective.trainable_variables) == 1  # one table, no copy


def test_padding_makes_no_difference(objective):
    ids = texts()[:8]
    assert (np.asarray(objective(ids)["targets"]) >= 0).any(1).all()
    only = np.zeros((2, 12), "int32")
    out = objective(only)
    assert (np.asarray(out["targets"]) == -1).all() and float(objective.compute_objective(out)) == 0


def test_bits_per_byte_count_the_bytes_of_the_hidden_tokens():
    objective = MaskedLM(tiny_backbone("bert"))
    objective.compile("sgd")
    history = objective.fit(texts(), batch_size=32, verbose=0).history
    assert set(history) == {"loss", "accuracy", "bits_per_byte"}
    letters = objective.ids.token_bytes[5]  # a letter, with the space before it
    assert history["bits_per_byte"][0] == pytest.approx(history["loss"][0] / np.log(2) / letters, rel=1e-4)


def test_whole_words(objective):
    ids = np.array([[2, 5, 17, 18, 6, 19, 7, 3, 0, 0, 0, 0]] * 64, "int32")  # a##a##b b##c c
    whole = MaskedLM(tiny_backbone("bert"), mask_ratio=0.5, whole_words=True)
    found = {tuple(sorted(row[row >= 0])) for row in np.asarray(whole(ids)["targets"])}
    assert found <= {(5, 17, 18), (6, 7, 19), (6, 19), (7,)} and len(found) > 2


def test_any_length_serves(objective):
    objective.compile("sgd")
    objective.fit(texts()[:, :6], verbose=0)
    objective.fit(texts(), verbose=0)


def test_bad_input():
    with pytest.raises(ValueError, match="mask_id="):
        MaskedLM(bare())
    assert MaskedLM(bare(), mask_id=29).bits is None
    with pytest.raises(ValueError, match="1 to 29"):
        MaskedLM(bare(), mask_id=30)
    with pytest.raises(ValueError, match="whole_words"):
        MaskedLM(bare(), mask_id=29, whole_words=True)
    with pytest.raises(ValueError, match="mask_ratio"):
        MaskedLM(bare(), mask_id=29, mask_ratio=1.0)
    with pytest.raises(ValueError, match="CausalLM"):
        MaskedLM(tiny_backbone("gpt"))
    with pytest.raises(ValueError, match="bidirectional"):
        MaskedLM(backbones.lstm(tiny_tokenization(), width=8, depth=1))
    with pytest.raises(ValueError, match="reads the ids of texts"):
        MaskedLM(tiny_backbone("vit"))


def test_a_bidirectional_lstm_learns():
    objective = MaskedLM(backbones.lstm(tiny_tokenization(), width=16, depth=1, bidirectional=True))
    objective.compile(keras.optimizers.Adam(0.01))
    losses = objective.fit(texts(), batch_size=16, epochs=12, verbose=0).history["loss"]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
