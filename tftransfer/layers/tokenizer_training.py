"""Training a tokenizer on a corpus: WordPiece, byte-level BPE or Unigram."""

import functools
import itertools
import json
import numbers
import os
import sys

import numpy as np

from tftransfer.layers.tokenizer_json import KINDS, canonical

__all__ = ["as_text", "from_vocabulary", "package", "rust", "train"]

_ANGLED = ("<|pad|>", "<|unknown|>", "<|start|>", "<|endoftext|>", "<|mask|>")
_SQUARE = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_CHUNK = 1000  # texts handed to the trainer at a time


def package():
    """The package `tokenizers`, or an ImportError that says how to get it."""
    try:
        import tokenizers
    except ImportError as error:
        raise ImportError(
            'Text needs the package tokenizers: pip install "tftransfer[text]" (or pip install tokenizers).'
        ) from error
    return tokenizers


@functools.lru_cache(maxsize=16)
def rust(text):
    """The tokenizer of a JSON, ready to encode; special tokens in a user's text are text to it."""
    tokenizer = package().Tokenizer.from_str(text)
    tokenizer.encode_special_tokens = True
    return tokenizer


def as_text(value, place):
    """One text as `str`.

    Args:
        value: `str`, or `bytes` in UTF-8.
        place: number of the text, for the message.

    Raises:
        ValueError: for bytes that are no UTF-8, lone surrogates, or anything that is no text.
    """
    try:
        if isinstance(value, bytes):
            return value.decode("utf-8")
        if isinstance(value, str):
            value.encode("utf-8")
            return value
    except UnicodeError as error:
        raise ValueError(
            f"Text {place} is not valid UTF-8: {error}. Read the file in its own encoding, or replace what cannot be "
            f"read: raw.decode('utf-8', errors='replace')."
        ) from error
    if value is None or (isinstance(value, float) and np.isnan(value)):
        raise ValueError(f"Text {place} is missing ({value}). Give an empty text, or leave the example out.")
    raise ValueError(f"Text {place} is a {type(value).__name__}, not a text: {str(value)[:60]!r}.")


def train(corpus, *, kind, vocabulary_size, lowercase, min_count, verbose):
    """The JSON of a tokenizer trained on texts; see `Tokenization.adapt` for the arguments."""
    if kind not in KINDS.values():
        raise ValueError(f"kind is {', '.join(map(repr, KINDS.values()))}; received {kind!r}.")
    least = 261 if kind == "bpe" else 32  # special tokens, and with bpe all bytes
    if (
        isinstance(vocabulary_size, bool)
        or not isinstance(vocabulary_size, numbers.Integral)
        or vocabulary_size < least
    ):
        raise ValueError(
            f"vocabulary_size is a whole number from {least} up with kind={kind!r}; received {vocabulary_size!r}."
        )
    lowercase = kind == "wordpiece" if lowercase is None else bool(lowercase)
    tokenizer, trainer = _MAKERS[kind](
        package(),
        lowercase,
        vocab_size=int(vocabulary_size),
        show_progress=sys.stderr.isatty() if verbose == "auto" else bool(verbose),
        **({} if kind == "unigram" else {"min_frequency": min_count}),
    )
    seen = [0]
    tokenizer.train_from_iterator(_chunks(corpus, seen), trainer)
    if not seen[0]:
        raise ValueError("The corpus holds no text to train a tokenizer on: every line is empty.")
    return canonical(_ordered(tokenizer.to_str()))


def _ordered(text):
    """The same tokenizer with its ids in an order that two trainings share: their maps have none."""
    found = json.loads(text)
    model, special = found["model"], len(found["added_tokens"])
    vocabulary = model["vocab"]
    if model["type"] == "WordPiece":
        tokens = sorted(vocabulary, key=vocabulary.get)
        tokens[special:] = sorted(tokens[special:])
        model["vocab"] = {token: number for number, token in enumerate(tokens)}
    elif model["type"] == "Unigram":
        rest = [[token, round(score, 3)] for token, score in vocabulary[special:]]
        model["vocab"] = vocabulary[:special] + sorted(rest, key=lambda pair: (-pair[1], pair[0]))
    return json.dumps(found)


def _chunks(corpus, seen):
    """Lists of texts that are not empty; counts them in `seen[0]`."""
    if isinstance(corpus, (str, os.PathLike)):
        with open(corpus, encoding="utf-8-sig") as file:
            try:
                yield from _chunks(file, seen)
            except UnicodeDecodeError as error:
                raise ValueError(f"{corpus} is not valid UTF-8: {error}.") from error
        return
    texts = (as_text(value, place) for place, value in enumerate(corpus))
    texts = (text.strip("\r\n") for text in texts if text.strip())
    while chunk := list(itertools.islice(texts, _CHUNK)):
        seen[0] += len(chunk)
        yield chunk


def _wordpiece(t, lowercase, **options):
    tokenizer = t.Tokenizer(t.models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = t.normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = t.pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = t.decoders.WordPiece()
    return tokenizer, t.trainers.WordPieceTrainer(
        special_tokens=list(_SQUARE), limit_alphabet=1000, **options
    )


def _bpe(t, lowercase, **options):
    tokenizer = t.Tokenizer(t.models.BPE())
    tokenizer.normalizer = t.normalizers.Lowercase() if lowercase else None
    tokenizer.pre_tokenizer = t.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = t.decoders.ByteLevel()
    alphabet = t.pre_tokenizers.ByteLevel.alphabet()
    return tokenizer, t.trainers.BpeTrainer(
        special_tokens=list(_ANGLED), initial_alphabet=alphabet, **options
    )


def _unigram(t, lowercase, **options):
    tokenizer = t.Tokenizer(t.models.Unigram())
    steps = [t.normalizers.NFKC(), *[t.normalizers.Lowercase()] * lowercase]
    tokenizer.normalizer = t.normalizers.Sequence(steps)
    marks = t.pre_tokenizers.Punctuation("isolated")  # so that no text becomes a special token
    tokenizer.pre_tokenizer = t.pre_tokenizers.Sequence([t.pre_tokenizers.Metaspace(), marks])
    tokenizer.decoder = t.decoders.Metaspace()
    return tokenizer, t.trainers.UnigramTrainer(special_tokens=list(_SQUARE), unk_token="[UNK]", **options)


_MAKERS = {"wordpiece": _wordpiece, "bpe": _bpe, "unigram": _unigram}


def from_vocabulary(tokens, lowercase=None):
    """The JSON of BERT's tokenizer with these tokens, the lines of a `vocab.txt`.

    Args:
        tokens: texts, in the order of their ids.
        lowercase: whether case is ignored; by default where no token has upper case.
    """
    if lowercase is None:
        lowercase = not any(token != token.lower() for token in tokens if not token.startswith("["))
    t, vocabulary = package(), {token: number for number, token in enumerate(tokens)}
    tokenizer = t.Tokenizer(t.models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = t.normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = t.pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = t.decoders.WordPiece()
    tokenizer.add_special_tokens([token for token in _SQUARE if token in vocabulary])
    return tokenizer.to_str()
