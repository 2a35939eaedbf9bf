"""What a tokenizer is trained on, and what is refused before training begins."""

import json

import pytest

from tftransfer.layers.tokenizer_training import as_text, from_vocabulary, rust, train

pytest.importorskip("tokenizers")
OPTIONS = {"kind": "wordpiece", "vocabulary_size": 60, "lowercase": None, "min_count": 2, "verbose": 0}


def vocabulary(corpus, **options):
    return json.loads(train(corpus, **{**OPTIONS, **options}))["model"]["vocab"]


def test_texts_are_texts():
    assert as_text("é", 0) == as_text("é".encode(), 0) == "é"
    for value, words in (
        (b"\xe9", "Text 3 is not valid UTF-8"),
        (None, "Text 3 is missing"),
        (1.5, "Text 3 is a float"),
    ):
        with pytest.raises(ValueError, match=words):
            as_text(value, 3)


def test_rare_words_and_case():
    corpus = ["Cats cats"] * 5 + ["zebra"]
    assert "cats" in vocabulary(corpus) and "zebra" not in vocabulary(corpus)
    kept = vocabulary(corpus, lowercase=False)
    assert "Cats" in kept and "cats" in kept


def test_empty_lines_count_for_nothing_and_the_order_of_ids_is_fixed():
    corpus = ["a cat", "a dog", "a cow"] * 4
    assert vocabulary(["", " ", *corpus, "\n"]) == vocabulary(iter(corpus))
    found = vocabulary(corpus)
    rest = [token for token in sorted(found, key=found.get) if not token.startswith("[")]
    assert rest == sorted(rest) and found["[PAD]"] == 0
    with pytest.raises(ValueError, match="every line is empty"):
        train(["", " "], **OPTIONS)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "words"}, "kind is 'wordpiece'"),
        ({"vocabulary_size": 31}, "from 32 up"),
        ({"vocabulary_size": True}, "from 32 up"),
        ({"kind": "bpe", "vocabulary_size": 260}, "from 261 up"),
    ],
)
def test_bad_settings(options, words):
    with pytest.raises(ValueError, match=words):
        train(["a text"], **{**OPTIONS, **options})


def test_special_words_in_a_text_are_text():
    text = from_vocabulary(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[", "]", "mask"])
    assert rust(text) is rust(text)
    assert rust(text).encode("[MASK]", add_special_tokens=False).tokens == ["[", "mask", "]"]
