"""Which file of a folder is the tokenizer, and what its neighbours say of it."""

import json

import pytest

from tftransfer.layers.tokenizer_files import tokenizer_json

pytest.importorskip("tokenizers")
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "Cat", "##s"]


def lowercases(text):
    return json.loads(text)["normalizer"]["lowercase"]


def test_the_first_of_what_a_folder_holds(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no file .*tokenizer\.json"):
        tokenizer_json(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(TOKENS))
    assert json.loads(tokenizer_json(tmp_path))["model"]["vocab"]["##s"] == 6
    (tmp_path / "tokenizer.json").write_text("as it is")
    assert tokenizer_json(tmp_path) == tokenizer_json(tmp_path / "tokenizer.json") == "as it is"


def test_case_is_what_the_config_says_or_the_vocabulary_shows(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(TOKENS))
    assert not lowercases(tokenizer_json(path))  # "Cat" is a token
    path.write_text("\n".join(TOKENS).replace("Cat", "cat"))
    assert lowercases(tokenizer_json(path))
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert not lowercases(tokenizer_json(path))


def test_gpt_needs_its_merges(tmp_path):
    (tmp_path / "vocab.json").write_text('{"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3}')
    with pytest.raises(FileNotFoundError):
        tokenizer_json(tmp_path)
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\n")
    found = json.loads(tokenizer_json(tmp_path))
    assert found["model"]["merges"] in (["a b"], [["a", "b"]])
    assert [token["content"] for token in found["added_tokens"]] == ["<|endoftext|>"]
    (tmp_path / "vocab.json").write_text("{damaged")
    with pytest.raises(ValueError, match=r"vocab\.json is not what its name says"):
        tokenizer_json(tmp_path)
