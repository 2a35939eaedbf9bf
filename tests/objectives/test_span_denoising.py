"""Span denoising: the loss by hand, what the decoder sees, both targets, and what is refused."""

import keras
import numpy as np
import pytest

from tests.objectives.conftest import texts, tiny_backbone
from tftransfer import backbones
from tftransfer.layers import TextDecoder
from tftransfer.objectives import SpanDenoising


def make(**settings):
    keras.utils.set_random_seed(0)
    return SpanDenoising(tiny_backbone("bert"), noise_ratio=0.4, span_length=2, **settings)


@pytest.mark.parametrize("target", ["spans", "text"])
def test_loss_is_the_cross_entropy_of_what_is_written(target):
    objective = make(target=target)
    out = objective(texts())
    a = {name: np.asarray(value, "float64") for name, value in out.items()}
    z = a["logits"] - np.log(np.exp(a["logits"]).sum(-1, keepdims=True))
    targets = a["targets"].astype(int)
    by_hand = -np.mean([z[b, t, y] for (b, t), y in np.ndenumerate(targets) if y >= 0])
    assert float(objective.compute_objective(out)) == pytest.approx(by_hand, rel=1e-5)


def test_spans_begin_with_masks_and_end_with_the_end():
    targets = np.asarray(make()(texts())["targets"])
    for row, ids in zip(targets, texts(), strict=True):
        said = row[row >= 0]
        assert said[0] == 4 and said[-1] == 3 and set(said[said > 4]) <= set(ids)


def test_the_whole_text_without_its_start():
    targets = np.asarray(make(target="text")(texts())["targets"])
    expected = np.pad(texts()[:, 1:], ((0, 0), (0, 1)))
    np.testing.assert_array_equal(np.where(targets < 0, 0, targets), expected)


def test_it_learns_to_copy_what_it_sees():
    objective = make(target="text")
    objective.compile(keras.optimizers.Adam(0.02))
    losses = objective.fit(texts(), batch_size=16, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < 0.9 * losses[0]


def test_a_decoder_of_ones_own_and_its_config():
    objective = make(decoder=TextDecoder(depth=1, num_heads=2))
    again = SpanDenoising.from_config(objective.get_config())
    assert again.decoder.depth == 1 and len(again.weights) == len(objective.weights)


def test_bad_input():
    for settings, words in (
        ({"target": "words"}, "target is"),
        ({"noise_ratio": 0}, "noise_ratio"),
        ({"span_length": 0.5}, "span_length"),
    ):
        with pytest.raises(ValueError, match=words):
            SpanDenoising(tiny_backbone("bert"), **settings)
    with pytest.raises(ValueError, match="CausalLM"):
        SpanDenoising(tiny_backbone("gpt"))
    with pytest.raises(ValueError, match="Tokenization"):
        SpanDenoising(backbones.bert((8,), vocabulary_size=9, width=8, depth=1, num_heads=1), mask_id=8)
