"""BERT."""

import numpy as np
import pytest

from tests.backbones.texts import SMALL, check_padding_changes_nothing, sees, tokenization
from tftransfer.backbones import bert
from tftransfer.layers import Tokenization


def test_looks_both_ways_and_past_no_padding():
    model = bert(tokenization(), num_heads=2, **SMALL)
    check_padding_changes_nothing(model)
    assert sees(model, 2) == [True] * 5
    assert [layer.name for layer in model.layers] == ["ids", "embedder", "segments", "trunk"]


def test_number_of_parameters_is_berts():
    model = bert((512,), vocabulary_size=30522, width=128, depth=2, num_heads=2)
    pooler = 128 * 128 + 128
    assert model.count_params() == 4_385_920 - pooler  # BERT-tiny of Turc et al.


def test_the_second_text_of_a_pair_has_another_type():
    known = tokenization()
    model = bert(known, num_heads=2, **SMALL)
    tokens = np.asarray(model.get_layer("embedder")(np.asarray(known.encode(["cat", "cat"], ["dog", "cat"]))))
    same = np.abs(tokens[1, 1] - tokens[0, 1]).max()
    assert same < 1e-6 < np.abs(tokens[1, 3] - tokens[1, 1]).max()


@pytest.mark.parametrize(
    "shape, options, words",
    [
        ((12,), {}, "takes a fitted Tokenization"),
        ((12, 3), {"vocabulary_size": 20}, "takes a fitted Tokenization"),
        ((12,), {"vocabulary_size": 0}, "vocabulary_size"),
        (Tokenization(), {}, "without a tokenizer"),
        ((12,), {"vocabulary_size": 20, "width": 10, "num_heads": 4}, "does not divide"),
        ((12,), {"vocabulary_size": 20, "depth": 0}, "depth"),
    ],
)
def test_refused(shape, options, words):
    with pytest.raises(ValueError, match=words):
        bert(shape, **options)


def test_texts_longer_than_the_position_table():
    model = bert((4,), vocabulary_size=20, num_heads=2, **SMALL)
    with pytest.raises(ValueError, match="5 tokens, and the position table 4 places"):
        model(np.ones((1, 5), "int32"))
    with pytest.raises(ValueError, match="The tokenization has"):
        bert(tokenization(), vocabulary_size=3)
