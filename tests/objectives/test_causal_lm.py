"""Causal language model: the loss by hand, documents apart, nothing from the future, figures, recurrent backbones."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.objectives.conftest import texts, tiny_backbone, tiny_tokenization
from tftransfer import backbones
from tftransfer.layers import word_table
from tftransfer.objectives import CausalLM

KINDS = {
    "gpt": lambda: tiny_backbone("gpt"),
    "lstm": lambda: backbones.lstm(tiny_tokenization(), width=16, depth=1),
    "gru": lambda: backbones.gru(tiny_tokenization(), width=16, depth=1),
    "rotary": lambda: backbones.transformer_text(
        tiny_tokenization(), width=16, depth=1, num_heads=2, causal=True
    ),
}
every = pytest.mark.parametrize("kind", KINDS)


def make(kind="gpt"):
    keras.utils.set_random_seed(0)
    return CausalLM(KINDS[kind]())


@pytest.mark.compute
@every
def test_loss_is_the_mean_surprise_at_the_next_token(kind):
    objective, ids = make(kind), texts()
    features = np.asarray(objective.backbone(ids), "float64")
    z = features @ np.asarray(word_table(objective.backbone), "float64").T
    z = z - np.log(np.exp(z).sum(-1, keepdims=True))
    pairs = [(b, t) for b in range(32) for t in range(11) if ids[b, t + 1]]
    by_hand = -np.mean([z[b, t, ids[b, t + 1]] for b, t in pairs])
    assert float(objective.compute_objective(objective(ids))) == pytest.approx(by_hand, rel=1e-4)


@every
def test_a_prediction_depends_on_nothing_that_comes_later(kind):
    objective, ids = make(kind), texts()[:1]
    said = np.asarray(objective(ids)["logits"])
    changed = ids.copy()
    changed[0, 4] = 16
    now = np.asarray(objective(changed)["logits"])
    np.testing.assert_allclose(now[0, :4], said[0, :4], atol=1e-5)
    assert np.abs(now[0, 4] - said[0, 4]).max() > 1e-5


@pytest.mark.parametrize("kind", ["gpt", "rotary"])
def test_documents_of_one_row_do_not_see_each_other(kind):
    objective = make(kind)
    row = np.array([[5, 6, 7, 3, 8, 9, 10, 3, 0, 0, 0, 0]], "int32")
    out = objective(row)
    assert np.asarray(out["targets"]).tolist() == [[6, 7, 3, -1, 9, 10, 3, -1, -1, -1, -1]]
    other = row.copy()
    other[0, :3] = [15, 14, 13]
    now = np.asarray(objective(other)["logits"])[0, 4:7]
    np.testing.assert_allclose(now, np.asarray(out["logits"])[0, 4:7], atol=1e-5)
    alone = np.array([[8, 9, 10, 3]], "int32")
    np.testing.assert_allclose(np.asarray(objective(alone)["logits"])[0], now, atol=1e-5)


def test_packed_or_one_by_one_the_loss_is_the_same():
    objective = make()
    packed = np.array([[5, 6, 7, 3, 8, 9, 10, 3, 0, 0]], "int32")
    single = np.array([[5, 6, 7, 3], [8, 9, 10, 3]], "int32")
    a, b = (float(objective.compute_objective(objective(ids))) for ids in (packed, single))
    assert a == pytest.approx(b, rel=1e-5)


def test_figures():
    objective = make()
    objective.compile(keras.optimizers.SGD(0.0))
    history = objective.fit(texts(), batch_size=32, verbose=0).history
    out = {name: np.asarray(value) for name, value in objective(texts()).items()}
    counts = out["targets"] >= 0
    assert history["loss"][0] == pytest.approx(out["nats"].sum() / counts.sum(), rel=1e-5)
    assert history["perplexity"][0] == pytest.approx(np.exp(history["loss"][0]), rel=1e-4)
    held = objective.ids.token_bytes[out["targets"][counts]].sum()
    assert history["bits_per_byte"][0] == pytest.approx(out["nats"].sum() / np.log(2) / held, rel=1e-4)
    right = (out["logits"].argmax(-1) == out["targets"])[counts].mean()
    assert history["accuracy"][0] == pytest.approx(right, abs=1e-6)


@every
def test_counting_is_learned(kind):
    objective = make(kind)
    objective.compile(keras.optimizers.Adam(0.02))
    losses = objective.fit(texts(), batch_size=16, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < 0.6 * losses[0]


def test_ids_of_ones_own_and_no_bytes():
    objective = CausalLM(backbones.gpt((8,), vocabulary_size=20, width=8, depth=1, num_heads=1))
    assert objective.bits is None and objective.ids.end_id is None
    targets = ops.convert_to_numpy(objective(np.array([[5, 3, 6, 0]]))["targets"])
    assert targets.tolist() == [[3, 6, -1]]


def test_backbones_that_see_what_comes_are_refused():
    for backbone in (
        tiny_backbone("bert"),
        backbones.lstm(tiny_tokenization(), width=8, depth=1, bidirectional=True),
    ):
        with pytest.raises(ValueError, match="looks both ways"):
            CausalLM(backbone)
    with pytest.raises(ValueError, match="reads the ids of texts"):
        CausalLM(tiny_backbone("causal"))
