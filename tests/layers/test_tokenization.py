"""Texts become ids as the tokenizer of the training corpus says, and the layer that knows it travels."""

import sys

import keras
import numpy as np
import pytest

from tftransfer import backbones
from tftransfer.layers import TokenIds, Tokenization, to_ids, tokenization_of

CORPUS = ["The cat sat on the mat.", "A dog ate my log, dear!", "Grüße, naïve café"] * 30
KINDS = ("wordpiece", "bpe", "unigram")


@pytest.fixture(scope="module")
def fitted():
    return {
        kind: Tokenization(max_length=12).adapt(
            CORPUS, kind=kind, vocabulary_size=300 if kind == "bpe" else 70, verbose=0
        )
        for kind in KINDS
    }


@pytest.mark.parametrize("kind", KINDS)
def test_texts_go_there_and_back(fitted, kind):
    tokenization = fitted[kind]
    assert tokenization.kind == kind and tokenization.vocabulary_size <= 300
    texts = ["the cat sat", "A dog ate"]
    ids = tokenization.encode(texts)
    assert ids.dtype == "int32" and ids.shape == (2, 12) and ids.checksum == tokenization.checksum
    assert tokenization.decode(ids) == [text.lower() if kind == "wordpiece" else text for text in texts]
    assert tokenization.decode(ids[0]) == "the cat sat"
    ends = kind != "bpe"
    assert (ids[0, 0] == tokenization.start_id) == ends
    assert (ids[0][ids[0] > 0][-1] == tokenization.end_id) == ends


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_special_comes_from_the_layer_alone(fitted, kind):
    tokenization = fitted[kind]
    assert [getattr(tokenization, f"{name}_id") for name in ("pad", "unknown", "start", "end", "mask")] == [
        *range(5)
    ]
    assert tokenization.special_ids == [0, 1, 2, 3, 4]
    for word in ("[MASK]", "[PAD]", "[SEP]", "<|endoftext|>", "<|pad|>"):
        (ids,) = tokenization.ids([word])
        assert ids and not {0, 2, 3, 4} & set(ids)
    empty = tokenization.encode(["", " "]).tolist()
    assert empty[0] == ([3] if kind == "bpe" else [2, 3]) + [0] * (11 if kind == "bpe" else 10)
    (foreign,) = tokenization.ids(["日本"])
    assert set(foreign) == {1} if kind == "wordpiece" else len(foreign) > 0
    assert not tokenization.token_bytes[tokenization.special_ids].any()
    assert not tokenization.continues_word[tokenization.special_ids].any()


def test_bytes_of_tokens_are_those_of_the_text(fitted):
    for kind, text in (("bpe", "Grüße, naïve café"), ("unigram", " the cat"), ("wordpiece", " the cat")):
        ids = fitted[kind].ids([text])[0]
        assert fitted[kind].token_bytes[ids].sum() == len(text.encode()), kind


def test_long_texts_are_cut_or_make_several_rows(fitted):
    tokenization = fitted["wordpiece"]
    text = " ".join(["the cat sat on the mat"] * 4)
    (all_ids,) = tokenization.ids([text])
    (cut,) = tokenization.encode([text])
    assert cut.tolist() == [2, *all_ids[:10], 3]
    rows, owners = tokenization.windows(["dog", text, ""])
    assert owners.tolist() == [0, *[1] * -(-len(all_ids) // 10), 2]
    inside = rows[owners == 1][:, 1:]
    assert [i for i in inside.ravel() if i not in (0, 3)] == all_ids
    assert np.array_equal(tokenization.encode(["dog", text, ""], overflow="window"), rows)
    overlapping, _ = tokenization.windows([text], stride=5)
    assert len(overlapping) > len(inside)


def test_pairs(fitted):
    tokenization = fitted["wordpiece"]
    a, b = tokenization.ids(["the cat", "dog"])
    assert tokenization.encode(["the cat"], ["dog"])[0].tolist() == [2, *a, 3, *b, 3] + [0] * (9 - len(a + b))
    (long,) = tokenization.encode(["cat " * 30], ["dog"])
    assert long[-len(b) - 2 :].tolist() == [3, *b, 3]  # the longer one was cut
    joined = fitted["bpe"].encode(["the cat"], ["dog"])
    assert fitted["bpe"].decode(joined) == ["the cat\ndog"]


def test_words_keep_their_place(fitted):
    for kind in KINDS:
        tokenization = fitted[kind]
        ids, owners = tokenization.encode_words([["The", "cat", "\u200b", "naïve"], ["mat"]])
        assert ids.shape == owners.shape == (2, 12)
        assert sorted(set(owners[0].tolist())) == [-1, 0, 1, 2, 3]  # each word has a token
        assert (owners[0] >= 0).sum() == ((ids[0] > 0) & (ids[0] != 2) & (ids[0] != 3)).sum()
        assert (owners[:, 0] == -1).all() == (kind != "bpe")


def test_packed_rows_lose_nothing(fitted):
    tokenization = fitted["bpe"]
    texts = ["the cat sat", "", "a dog", "Grüße"]
    rows = tokenization.pack(texts, 8)
    assert rows.shape[1] == 8 and (rows.ravel()[:-8] != 0).all()
    documents = "".join(chr(i) for i in rows.ravel() if i).split(chr(3))[:-1]
    assert [tokenization.decode(np.array([*map(ord, d)])) for d in documents] == [t for t in texts if t]
    with pytest.raises(ValueError, match="nothing to pack"):
        tokenization.pack(["", ""])


def test_bad_input(fitted):
    tokenization = fitted["wordpiece"]
    for texts, words in (
        ([b"caf\xe9"], "Text 0 is not valid UTF-8"),
        (["good", "\ud800"], "Text 1 is not valid UTF-8"),
        (["good", None], "Text 1 is missing"),
        (["good", float("nan")], "Text 1 is missing"),
        (["good", 3], "Text 1 is a int"),
        ("one text", "Give a list of texts"),
    ):
        with pytest.raises(ValueError, match=words):
            tokenization.encode(texts)
    assert tokenization.encode([b"caf\xc3\xa9"]).tolist() == tokenization.encode(["café"]).tolist()
    with pytest.raises(ValueError, match="Each text needs a pair"):
        tokenization.encode(["a", "b"], ["c"])
    with pytest.raises(ValueError, match="no tokenizer yet"):
        Tokenization().encode(["a"])
    with pytest.raises(ValueError, match="holds no text"):
        Tokenization().adapt(["", "  "], verbose=0)
    with pytest.raises(ValueError, match="from 261 up"):
        Tokenization().adapt(CORPUS, kind="bpe", vocabulary_size=100)
    with pytest.raises(ValueError, match="kind is"):
        Tokenization().adapt(CORPUS, kind="words")
    with pytest.raises(ValueError, match=r"no tokenizer of the package"):
        Tokenization("{}")
    for damage in ('"cat": 999999999999', '"cat": -4'):
        known = tokenization.tokenizer.replace(f'"cat": {tokenization.ids(["cat"])[0][0]}', damage)
        if known != tokenization.tokenizer:
            with pytest.raises(ValueError, match="it is damaged"):
                Tokenization(known)
    for length in (2, 3.5, True):
        with pytest.raises(ValueError, match="max_length"):
            Tokenization(max_length=length)


def test_a_corpus_in_a_file_with_broken_bytes(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(CORPUS), encoding="utf-8")
    options = {"vocabulary_size": 70, "verbose": 0}
    assert Tokenization().adapt(path, **options).checksum == Tokenization().adapt(CORPUS, **options).checksum
    path.write_bytes(b"caf\xe9\n")
    with pytest.raises(ValueError, match="not valid UTF-8"):
        Tokenization().adapt(path, verbose=0)


@pytest.mark.parametrize("kind", KINDS)
def test_two_trainings_give_one_tokenizer(fitted, kind):
    size = 300 if kind == "bpe" else 70
    for _ in range(3):
        again = Tokenization().adapt(iter(CORPUS), kind=kind, vocabulary_size=size, verbose=0)
        assert again.checksum == fitted[kind].checksum


def test_it_travels_and_may_not_change_in_a_model(fitted, tmp_path):
    backbone = backbones.gru(fitted["unigram"], width=8, depth=1)
    backbone.save(tmp_path / "model.keras")
    loaded = tokenization_of(keras.models.load_model(tmp_path / "model.keras"))
    assert loaded.checksum == fitted["unigram"].checksum and loaded.max_length == 12
    with pytest.raises(ValueError, match="part of a model already"):
        tokenization_of(backbone).adapt(CORPUS)


@pytest.mark.parametrize("pad", [None, "<pad>"])
def test_padding_becomes_zero(fitted, pad, tmp_path):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = ["a", "b", "Ġ", "ab", *([pad] if pad else []), "<|endoftext|>"]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(letters)}, [("a", "b")]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(False), decoders.ByteLevel()
    tokenizer.add_special_tokens([t for t in (pad, "<|endoftext|>") if t])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    read = Tokenization.from_file(tmp_path, max_length=4)
    assert read.words.tokens == (pad or "<|pad|>", "a", "b", "Ġ", "ab", "<|endoftext|>")
    assert read.encode(["aba"]).tolist() == [[4, 1, 0, 0]] and read.end_id == read.start_id == 5
    assert read.mask_id is None and read.decode(read.encode(["ab b"])) == ["ab b"]
    with pytest.raises(FileNotFoundError, match="no file"):
        Tokenization.from_file(tmp_path / "nowhere")


def test_vocabularies_of_bert_and_gpt(tmp_path):
    (tmp_path / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "##s"])
    )
    read = Tokenization.from_file(tmp_path, max_length=6)
    assert read.encode(["Cats"]).tolist() == [[2, 5, 6, 3, 0, 0]]
    (tmp_path / "vocab.txt").unlink()
    (tmp_path / "vocab.json").write_text('{"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3}')
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\n")
    assert Tokenization.from_file(tmp_path).ids(["aba"]) == [[3, 1]]


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r'pip install "tftransfer\[text\]"'):
        Tokenization().adapt(CORPUS, verbose=0)


def test_ids_are_looked_at_before_a_model_reads_them(fitted):
    backbone = backbones.bert(fitted["wordpiece"], width=8, depth=1, num_heads=1)
    ids = fitted["wordpiece"].encode(["the cat"])
    assert isinstance(to_ids(ids, backbone), TokenIds)
    assert isinstance(to_ids(np.asarray(ids), backbone), TokenIds)  # whose they are is not known
    for wrong, words in (
        (fitted["unigram"].encode(["the cat"]), f"another tokenizer .*{fitted['unigram'].checksum}"),
        (np.full((1, 4), 5000), "ids from 0 to 5000|ids from 5000|ids from"),
        (-np.ones((1, 4), int), "ids from -1"),
        (np.ones((1, 30), int), "texts of 30 tokens, and the position table of 'bert' 12 places"),
    ):
        with pytest.raises(ValueError, match=words):
            to_ids(wrong, backbone)
    bare = backbones.bert((12,), vocabulary_size=20, width=8, depth=1, num_heads=1)
    with pytest.raises(ValueError, match="without a tokenizer"):
        to_ids(["a text"], bare)
    pictures = np.zeros((2, 8), "float32")
    assert to_ids(pictures, backbones.mlp((8,), units=(4,))) is pictures
