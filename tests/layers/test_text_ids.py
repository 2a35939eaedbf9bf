"""What is known of a text backbone's ids, and whether its tokens see those behind them."""

import keras
import pytest

from tftransfer import backbones
from tftransfer.layers import Tokenization, looks_ahead, needed_tokenization, text_ids

SIZES = {"width": 8, "depth": 1}


@pytest.fixture(scope="module")
def words():
    pytest.importorskip("tokenizers")
    return Tokenization(max_length=8).adapt(["the cat sat"] * 4, vocabulary_size=40, verbose=0)


@pytest.fixture(scope="module")
def bare():
    return backbones.gru((8,), vocabulary_size=20, **SIZES)


def test_ids_of_a_tokenization(words):
    backbone = backbones.gru(words, **SIZES)
    found = text_ids(backbone, where="mine")
    assert found.vocabulary_size == words.vocabulary_size and found.special_ids == (0, 1, 2, 3, 4)
    assert (found.start_id, found.end_id, found.mask_id) == (2, 3, 4)
    assert len(found.token_bytes) == len(found.continues_word) == words.vocabulary_size
    assert text_ids(backbone, where="mine", mask_id=7).mask_id == 7
    assert needed_tokenization(backbone).checksum == words.checksum


def test_ids_of_one_s_own(bare):
    assert text_ids(bare, where="mine") == (20, None, None, None, (0,), None, None)
    assert text_ids(bare, where="mine", mask_id=19).special_ids == (0, 19)
    for mask in (0, 20, -1):
        with pytest.raises(ValueError, match="one of the ids 1 to 19"):
            text_ids(bare, where="mine", mask_id=mask)
    with pytest.raises(ValueError, match=r"pairs cannot be read.*or give rows"):
        needed_tokenization(bare, reads="pairs", instead="rows")


def test_what_reads_no_texts_is_refused():
    with pytest.raises(ValueError, match=r"mine reads the ids of texts.*has no word table"):
        text_ids(backbones.mlp((4,), units=(2,)), where="mine")


def test_who_looks_ahead(bare):
    heads = {"vocabulary_size": 20, "num_heads": 2, **SIZES}
    assert looks_ahead(backbones.bert((8,), **heads)) is True
    assert looks_ahead(backbones.gpt((8,), **heads)) is False
    assert looks_ahead(bare) is False
    assert looks_ahead(backbones.lstm((8,), vocabulary_size=20, bidirectional=True, **SIZES)) is True
    assert looks_ahead(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])) is None
