"""GPT."""

import numpy as np

from tests.backbones.texts import SMALL, check_padding_changes_nothing, sees, tokenization
from tftransfer.backbones import gpt


def test_looks_back_alone():
    model = gpt(tokenization(), num_heads=2, **SMALL)
    check_padding_changes_nothing(model)
    assert sees(model, 2) == [True, True, True, False, False]


def test_number_of_parameters_is_gpt2s():
    model = gpt((1024,), vocabulary_size=50257, width=64, depth=1, num_heads=2)
    block = 12 * 64 * 64 + 13 * 64
    assert model.count_params() == 50257 * 64 + 1024 * 64 + block + 2 * 64


def test_packed_documents_do_not_see_each_other():
    known = tokenization("bpe")
    model = gpt(known, num_heads=2, **SMALL)
    (row,) = np.asarray(known.pack(["cat", "the dog"], 12))
    first = int((row == known.end_id).argmax()) + 1
    second = row[first:][row[first:] > 0]
    together = np.asarray(model(row[None]))[0]
    alone = np.asarray(model(second[None]))[0]
    np.testing.assert_allclose(together[first : first + len(second)], alone, atol=1e-5)
