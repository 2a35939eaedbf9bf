"""What the JSON of a tokenizer says, read without the package that wrote it."""

import json

import pytest

from tftransfer.layers.tokenizer_json import Words, canonical, pad_place, words_of


def flags(token, number):
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": token, "special": True, **plain}


def bert(tokens=("[UNK]", "[CLS]", "cat", "##s", "[PAD]", "[SEP]", "[MASK]", "!")):
    vocabulary = {token: number for number, token in enumerate(tokens)}
    model = {"type": "WordPiece", "vocab": vocabulary, "unk_token": "[UNK]"}
    special = [flags(t, n) for t, n in vocabulary.items() if t.startswith("[")]
    return json.dumps({"model": model, "added_tokens": special, "truncation": {"max_length": 3}})


def unigram():
    pairs = [["▁the", -1.0], ["x", -2.0], ["</s>", 0.0]]
    model = {"type": "Unigram", "vocab": pairs, "unk_id": 1}
    return json.dumps({"model": model, "added_tokens": [flags("</s>", 2)]})


def test_padding_comes_first_and_the_others_keep_their_order():
    assert pad_place(bert()) == 4
    words = words_of(canonical(bert()))
    assert words.tokens == ("[PAD]", "[UNK]", "[CLS]", "cat", "##s", "[SEP]", "[MASK]", "!")
    assert words.special == {"pad_id": 0, "unknown_id": 1, "start_id": 2, "end_id": 5, "mask_id": 6}
    assert words.special_ids == [0, 1, 2, 5, 6] and words.kind == "wordpiece"
    assert words.continues_word.tolist() == [False] * 4 + [True] + [False] * 3
    assert words.token_bytes.tolist() == [0, 0, 0, 4, 1, 0, 0, 1]  # a word has a space before it
    assert json.loads(canonical(bert()))["truncation"] is None


def test_padding_is_added_where_there_is_none():
    assert pad_place(unigram()) is None
    words = words_of(canonical(unigram()))
    assert words.tokens == ("<|pad|>", "▁the", "x", "</s>")
    assert json.loads(canonical(unigram()))["model"]["unk_id"] == 2
    assert words.special["unknown_id"] == words.special["start_id"] == words.special["end_id"] == 3
    assert words.token_bytes.tolist() == [0, 4, 1, 0]
    assert canonical(canonical(unigram())) == canonical(unigram())


def test_one_tokenizer_has_one_checksum():
    shuffled = json.dumps(dict(reversed(json.loads(bert()).items())))
    assert words_of(canonical(shuffled)).checksum == words_of(canonical(bert())).checksum
    other = bert(("[UNK]", "[CLS]", "dog", "##s", "[PAD]", "[SEP]", "[MASK]", "!"))
    assert words_of(canonical(other)).checksum != words_of(canonical(bert())).checksum


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no json", "no tokenizer of the package"),
        ("{}", "no tokenizer of the package"),
        ('{"model": {"type": "WordLevel", "vocab": {}}, "added_tokens": []}', "received one of WordLevel"),
        (bert(("[PAD]", "[UNK]", "a")), "which end a text"),
        (bert().replace('"cat": 2', '"cat": -2'), "it is damaged"),
        (bert().replace('"cat": 2', '"cat": 99999'), "it is damaged"),
    ],
)
def test_what_is_no_tokenizer(text, words):
    with pytest.raises(ValueError, match=words):
        Words(text)
