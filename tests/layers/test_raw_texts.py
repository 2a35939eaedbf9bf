"""Texts, ids or neither: what a model is given becomes what it reads."""

import numpy as np
import pytest

from tftransfer import backbones
from tftransfer.layers import TokenIds, Tokenization, are_texts, to_ids

pytest.importorskip("tokenizers")
SIZES = {"width": 8, "depth": 1}


@pytest.fixture(scope="module")
def words():
    return Tokenization(max_length=6).adapt(["the cat sat on the mat"] * 4, vocabulary_size=40, verbose=0)


@pytest.fixture(scope="module")
def reads(words):
    return backbones.gru(words, **SIZES)


@pytest.mark.parametrize(
    ("x", "found"),
    [
        (["a"], True),
        (("a",), True),
        ([b"a"], True),
        (np.array(["a"]), True),
        (np.array([b"a"]), True),
        (np.array(["a", None], object), True),
        ([], False),
        ([1], False),
        ("a", False),  # one text is no list of them
        (np.array([1, 2]), False),
        (np.array([], object), False),
        (None, False),
    ],
    ids=repr,
)
def test_what_are_texts(x, found):
    assert are_texts(x) == found


def test_texts_and_columns_of_texts(words, reads):
    texts = ["the cat", "sat"]
    expected = words.encode(texts)
    for x in (texts, np.array(texts), {"label": [0, 1], "note": texts}, {"other": ["x", "y"], "text": texts}):
        found = to_ids(x, reads)
        assert isinstance(found, TokenIds) and found.tolist() == expected.tolist()
        assert found.checksum == words.checksum
    with pytest.raises(ValueError, match=r"several columns of texts \(a, b\)"):
        to_ids({"a": texts, "b": texts}, reads)
    numbers = {"label": np.array([0, 1])}
    assert to_ids(numbers, reads) is numbers


def test_long_texts(words, reads):
    text = "the cat sat on the mat the cat sat"
    assert to_ids([text], reads).shape == (1, 6)
    several = to_ids([text], reads, rows="window")
    assert len(several) > 1
    assert to_ids([text, text], reads, rows="pack").lengths.tolist()[0] == 6
    with pytest.raises(ValueError, match="mine cannot be read: Text 1 is missing"):
        to_ids([text, None], reads, name="mine")


def test_ids_are_looked_at(reads):
    assert isinstance(to_ids([[5, 6], [7, 8]], reads), TokenIds)
    assert to_ids(np.array([[5, 6]], "int64"), reads).dtype == "int32"
    for x in (np.zeros((2, 3), "float32"), np.zeros((2, 3, 4), "int32")):
        assert to_ids(x, reads) is x
    with pytest.raises(ValueError, match="mine has ids from 0 to 5000"):
        to_ids(np.array([[5, 5000]]), reads, name="mine")


def test_a_model_without_tokenizer_or_of_no_texts():
    bare = backbones.gru((6,), vocabulary_size=20, **SIZES)
    with pytest.raises(ValueError, match="built on ids without a tokenizer"):
        to_ids(["a text"], bare)
    texts = ["a text"]
    assert to_ids(texts, backbones.mlp((4,), units=(2,))) is texts
