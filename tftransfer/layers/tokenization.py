"""What a text becomes before a model reads it: ids of tokens, by a tokenizer that is kept with the model."""

import itertools
import numbers

import keras
import numpy as np

from tftransfer.layers.config import Configured, register
from tftransfer.layers.token_ids import TokenIds
from tftransfer.layers.tokenizer_files import tokenizer_json
from tftransfer.layers.tokenizer_json import canonical, words_of
from tftransfer.layers.tokenizer_rows import cut_pair, list_of, padded
from tftransfer.layers.tokenizer_training import as_text, rust, train

__all__ = ["Tokenization", "tokenization_of"]

_CHUNK = 20_000  # texts encoded at a time, in parallel


@register
class Tokenization(Configured, keras.layers.Layer):
    """Turns texts into the ids of their tokens, as a Hugging Face tokenizer says that was trained on your corpus.

    `encode`, `encode_words` and `pack` run on the host, in parallel, ahead of the device; the model reads their int32
    ids, of which 0 is padding. `call`, inside the model, changes nothing: the layer is there so that the tokenizer
    travels with it. `backbones.bert(tokenization)` holds the layer, a weights file holds them both, and
    whatever is built on the file takes raw texts.

    Special tokens (`start_id`, `end_id`, `mask_id`, …) come from this layer alone: a user's text that says "[MASK]" is
    read as the text it is. Bytes are read as UTF-8; what is not valid is an error that names the text. An empty
    text is start and end, or with `kind="bpe"` the end alone. What the tokenizer does not know becomes `unknown_id`
    (byte-level BPE knows everything).

    Args:
        tokenizer: JSON of a tokenizer of the package `tokenizers` (the content of a `tokenizer.json`); None before
            `adapt`. Where its padding has not the id 0, the ids are numbered anew.
        max_length: tokens of a text at most, start and end included; also the size of position tables.

    Input and output: ids `(batch, length)`.

    Raises:
        ImportError: when texts are encoded and the package `tokenizers` is not installed.
        ValueError: for a text that is no tokenizer's JSON, or a layer used before `adapt`.

    Example:

    >>> corpus = ["the cat sat on the mat", "the dog sat on the log"] * 20
    >>> tokenization = Tokenization(max_length=8).adapt(corpus, vocabulary_size=60, verbose=0)
    >>> ids = tokenization.encode(["the cat sat"])
    >>> ids.shape, tokenization.decode(ids), tokenization.encode([""]).tolist()
    ((1, 8), ['the cat sat'], [[2, 3, 0, 0, 0, 0, 0, 0]])
    """

    def __init__(self, tokenizer=None, max_length=128, **kwargs):
        kwargs.pop("autocast", None)
        super().__init__(**{"name": "tokenization", **kwargs}, autocast=False)
        if isinstance(max_length, bool) or not isinstance(max_length, numbers.Integral) or max_length < 3:
            raise ValueError(f"max_length is a whole number of tokens from 3 up; received {max_length!r}.")
        self.tokenizer = None if tokenizer is None else canonical(tokenizer)
        self.max_length = int(max_length)

    @classmethod
    def from_file(cls, path, max_length=128):
        """A tokenization of a `tokenizer.json`, of BERT's `vocab.txt`, of GPT-2's `vocab.json`, or of their folder.

        Raises:
            OSError: when there is no such file.
            ValueError: when it holds no tokenizer of a kind that is read here.
        """
        return cls(tokenizer_json(path), max_length)

    def adapt(
        self, corpus, *, kind="wordpiece", vocabulary_size=8000, lowercase=None, min_count=2, verbose="auto"
    ):
        """Trains the tokenizer on a corpus.

        Args:
            corpus: a list, array or iterator of texts, or the path of a text file, one text a line.
            kind: "wordpiece" (BERT's: words and pieces of words), "bpe" (GPT-2's, on bytes: every text is
                reversible and nothing unknown) or "unigram" (T5's).
            vocabulary_size: tokens at most, special ones included.
            lowercase: whether case is ignored; by default with "wordpiece" only.
            min_count: pairs that occur fewer times are not merged (not with "unigram").
            verbose: 0 is silent, 1 shows progress, "auto" shows it on a terminal.

        Returns:
            The layer itself.

        Raises:
            ValueError: for a corpus without text or with invalid UTF-8, other arguments, or a layer that is part of a
                model already.
        """
        if self.built:
            raise ValueError(
                "This tokenization is part of a model already, whose word table belongs to its tokens. Adapt a new "
                "Tokenization, and build a new model on it."
            )
        options = {"kind": kind, "vocabulary_size": vocabulary_size, "lowercase": lowercase}
        self.tokenizer = train(corpus, **options, min_count=min_count, verbose=verbose)
        return self

    @property
    def words(self):
        """The vocabulary: `kind`, `tokens`, `continues_word`, `token_bytes`, … of `Words`."""
        if self.tokenizer is None:
            raise ValueError("This tokenization has no tokenizer yet. Call adapt(corpus) or from_file(path).")
        return words_of(self.tokenizer)

    kind = property(lambda self: self.words.kind, doc='"wordpiece", "bpe" or "unigram".')
    vocabulary_size = property(lambda self: len(self.words.tokens), doc="Number of tokens.")
    checksum = property(lambda self: self.words.checksum, doc="Sixteen digits that stand for the tokenizer.")
    pad_id = property(lambda self: 0, doc="The id of padding.")
    unknown_id = property(lambda self: self.words.special["unknown_id"], doc="The id of what is unknown.")
    start_id = property(lambda self: self.words.special["start_id"], doc="The id that begins a text ([CLS]).")
    end_id = property(lambda self: self.words.special["end_id"], doc="The id that ends a text ([SEP]).")
    mask_id = property(lambda self: self.words.special["mask_id"], doc="The id of a mask; None without.")
    special_ids = property(lambda self: self.words.special_ids, doc="Ids of all special tokens, sorted.")
    token_bytes = property(
        lambda self: self.words.token_bytes,
        doc="UTF-8 bytes that each token stands for: exact for bpe; wordpiece counts a space before each word.",
    )

    continues_word = property(
        lambda self: self.words.continues_word, doc="Whether each id goes on with the word before it, bool."
    )

    def ids(self, texts):
        """The ids of each text as they are: a list of lists, without start and end."""
        tokenizer, texts, found = rust(self._fitted()), iter(enumerate(texts)), []
        encode = getattr(tokenizer, "encode_batch_fast", tokenizer.encode_batch)
        while chunk := [as_text(text, place) for place, text in itertools.islice(texts, _CHUNK)]:
            found += [row.ids for row in encode(chunk, add_special_tokens=False)]
        return found

    def encode(self, texts, pairs=None, max_length=None, *, overflow="truncate", special=None):
        """Texts as rows of ids.

        Args:
            texts: list or array of texts.
            pairs: second texts, one for each, as in `[CLS] text [SEP] pair [SEP]`; with bpe a new line stands between.
            max_length: length of the rows; by default the layer's.
            overflow: what becomes of longer texts: "truncate" cuts their end (of a pair, the longer one's), "window"
                makes several rows of one text (`windows` says which belong together).
            special: whether start and end are added; by default with all kinds but bpe.

        Returns:
            `TokenIds`, an int32 array `(rows, max_length)`, padded with 0 on the right.

        Raises:
            ValueError: for what is no text, pairs of another number, or other arguments.
        """
        if overflow not in ("truncate", "window"):
            raise ValueError(f'overflow is "truncate" or "window"; received {overflow!r}.')
        if overflow == "window":
            if pairs is not None:
                raise ValueError('overflow="window" takes single texts, no pairs.')
            return self.windows(texts, max_length, special=special)[0]
        length, (before, behind) = self._length(max_length), self._ends(special)
        rows = self.ids(list_of(texts))
        if pairs is not None:
            second = self.ids(list_of(pairs))
            if len(second) != len(rows):
                raise ValueError(
                    f"Each text needs a pair; received {len(rows)} texts and {len(second)} pairs."
                )
            between = behind or self.ids(["\n"])[0]
            room = length - len(before) - len(between) - len(behind)
            rows = [
                a + between + b for a, b in (cut_pair(a, b, room) for a, b in zip(rows, second, strict=True))
            ]
        room = length - len(before) - len(behind)
        return self._rows([before + row[:room] + behind or [self.end_id] for row in rows], length)

    def windows(self, texts, max_length=None, *, stride=None, special=None):
        """Texts of any length as rows: `(ids (rows, max_length), number of the text of each row (rows,))`.

        Args:
            texts: list or array of texts.
            max_length: length of the rows; by default the layer's.
            stride: tokens from the start of one window to that of the next; by default windows do not overlap.
            special: as in `encode`.
        """
        length, (before, behind) = self._length(max_length), self._ends(special)
        room = length - len(before) - len(behind)
        stride = room if stride is None else stride
        if not 1 <= stride <= room:
            raise ValueError(f"stride is between 1 and the {room} tokens of a window; received {stride!r}.")
        rows, owners = [], []
        for owner, ids in enumerate(self.ids(list_of(texts))):
            count = 1 + -(-max(len(ids) - room, 0) // stride)
            rows += [
                before + ids[i * stride : i * stride + room] + behind or [self.end_id] for i in range(count)
            ]
            owners += [owner] * count
        return self._rows(rows, length), np.array(owners, "int32")

    def encode_words(self, sentences, max_length=None):
        """Sentences that are cut into words already: `(ids, word_of_token)`, both int32 `(sentences, max_length)`.

        `word_of_token` is the place of the word that a token belongs to, -1 for special tokens and padding. Each word
        has one token at least: `unknown_id` where nothing is left of it. Words beyond `max_length` are cut off.

        Args:
            sentences: list of lists of words.
            max_length: length of the rows; by default the layer's.
        """
        length, (before, behind) = self._length(max_length), self._ends(None)
        room = length - len(before) - len(behind)
        space = " " if self.kind == "bpe" else ""  # in which a word begins with its space
        sentences = [[space * (i > 0) + as_text(w, i) for i, w in enumerate(words)] for words in sentences]
        known = sorted({word for words in sentences for word in words})
        known = dict(zip(known, self.ids(known), strict=True))
        rows, owners = [], []
        for words in sentences:
            parts = [known[word] or [self.unknown_id] for word in words]
            row, owner = list(itertools.chain(*parts)), [i for i, part in enumerate(parts) for _ in part]
            rows.append(before + row[:room] + behind or [self.end_id])
            owners.append([0] * len(before) + [i + 1 for i in owner[:room]] + [0] * len(behind))
        return self._rows(rows, length), padded(owners, length) - 1

    def pack(self, texts, length=None):
        """Documents one behind the other in full rows, each ended by `end_id`: int32 `(rows, length)`.

        Nothing is lost: a document that does not fit goes on in the next row; the last row alone is padded. Causal
        models look at the documents of a row one by one, for they see where each ends.

        Args:
            texts: list or array of documents; empty ones are left out.
            length: length of the rows; by default the layer's `max_length`.

        Raises:
            ValueError: when all documents are empty.
        """
        length = self._length(length)
        documents = [ids for ids in self.ids(list_of(texts)) if ids]
        if not documents:
            raise ValueError("There is nothing to pack: all documents are empty.")
        flat = np.fromiter(itertools.chain.from_iterable([*ids, self.end_id] for ids in documents), "int32")
        return TokenIds(np.pad(flat, (0, -len(flat) % length)).reshape(-1, length), self.checksum)

    def decode(self, ids):
        """The text of a row of ids, or a list of them for several rows; special tokens and padding are left out."""
        ids = np.asarray(ids)
        if ids.ndim not in (1, 2) or ids.dtype.kind not in "iu":
            raise ValueError(
                f"decode takes ids (length,) or (rows, length); received {ids.dtype} {ids.shape}."
            )
        texts = rust(self._fitted()).decode_batch(np.atleast_2d(ids).tolist(), skip_special_tokens=True)
        return texts[0] if ids.ndim == 1 else texts

    def call(self, ids):
        return ids

    def compute_output_shape(self, input_shape):
        return input_shape

    def _rows(self, rows, length):
        return TokenIds(padded(rows, length), self.checksum)

    def _fitted(self):
        _ = self.words
        return self.tokenizer

    def _length(self, length):
        return self.max_length if length is None else type(self)(max_length=length).max_length

    def _ends(self, special):
        """What stands before and behind the tokens of a text."""
        special = self.kind != "bpe" if special is None else special
        return ([self.start_id], [self.end_id]) if special else ([], [])


def tokenization_of(model):
    """The `Tokenization` inside a model, or None where it has none.

    Args:
        model: a `keras.Model` or layer, such as what `weights.load_backbone` returns.

    Example:

    >>> model = keras.Sequential([keras.Input((None,), dtype="int32"), Tokenization()])
    >>> tokenization_of(model).max_length
    128
    """
    layers = model._flatten_layers(include_self=True, recursive=True)
    return next((layer for layer in layers if isinstance(layer, Tokenization)), None)
