"""A tag for each word of a text: names of persons and places, parts of speech."""

import warnings

import keras
import numpy as np

from tftransfer.layers import TokenAccuracy, TokenCrossentropy, TokenIds, needed_tokenization, register
from tftransfer.tasks.task import Task, count


@register
class Tagger(Task):
    """Gives each word a tag, by one linear layer on the features of each token; its outputs are logits.

    A word is often several tokens: its tag is read, and learned, at the first of them, as published; the others have no
    label. The loss is the cross-entropy of all labelled tokens. `tag(sentences)` returns a tag for every word, of texts
    of any length. `evaluate` scores whole entities (`evaluation.EntityReport`) where tags have the form `B-person`.

    Reference: Devlin et al., BERT, 2018, https://arxiv.org/abs/1810.04805 (section 5.3)

    Args:
        backbone: a backbone with features `(batch, tokens, dim)`, or the path of a self-describing `.weights.h5` file.
        tags: list of the tags' names, or their number. None leaves the task without a head: `finetune` reads the names
            from the labels, or call `swap_head`.
        dropout: dropout rate between features and head, in [0, 1).
        head: a Keras layer of your own from `(batch, dim)` to `(batch, tags)`; by default one linear layer.

    Input: lists of words with lists of tags for `finetune` and `evaluate`, or ids `(batch, tokens)` with labels of the
    same shape, -1 for none, as `encode` makes them. Output: logits `(batch, tokens, tags)`.

    Raises:
        ValueError: for a backbone without tokens, or tags that are no list of different names and no number.

    Example:

    >>> from tftransfer import backbones
    >>> from tftransfer.layers import Tokenization
    >>> tokenization = Tokenization(max_length=9).adapt(["the cat sat"] * 4, vocabulary_size=40, verbose=0)
    >>> task = Tagger(backbones.bert(tokenization, width=8, depth=1, num_heads=1), ["O", "B-cat", "I-cat"])
    >>> ids, labels = task.encode([["the", "cat", "sat"]], [["O", "B-cat", "O"]])
    >>> labels[labels >= 0].tolist(), len(task.tag([["a", "cat"]])[0])
    ([0, 1, 0], 2)
    """

    def __init__(self, backbone, tags=None, *, dropout=0.0, head=None, **kwargs):
        super().__init__(backbone, dropout=dropout, **kwargs)
        if len(self.backbone.output_shape) != 3:
            raise ValueError(
                f"Tagger reads features of tokens (batch, tokens, dim); {self.backbone.name!r} gives "
                f"{self.backbone.output_shape}. Use a text backbone, such as backbones.bert."
            )
        self.pool = keras.layers.Identity(name="pool")  # each token keeps its features
        self.tags = None
        if tags is not None or head is not None:
            self.swap_head(self._width_of(head) if tags is None else tags, head=head)

    def swap_head(self, tags=None, *, head=None):
        """Puts a fresh head on the same backbone; compile anew afterwards (`finetune` does).

        Args:
            tags: names of the new tags, or their number; by default those of now.
            head: a Keras layer of your own from `(batch, dim)` to `(batch, tags)`.

        Returns:
            The task itself.

        Raises:
            ValueError: for no list of different names and no number, or a head that gives another number.
        """
        names = _names(self.tags if tags is None else tags)
        self._set_head(len(names), head)
        self.tags = names
        return self

    def default_loss(self, one_hot=False):
        return TokenCrossentropy()

    def default_metrics(self, one_hot=False):
        return [TokenAccuracy()]

    def encode(self, sentences, tags=None):
        """Sentences as ids, and tags as the labels of their words' first tokens: `(ids, labels)`, `(n, tokens)` each.

        A task without a head gets one for the tags that it meets here. Words beyond the longest row are cut off, with a
        warning. Ids and labels are returned as they are.

        Args:
            sentences: list of lists of words.
            tags: list of lists of tags, one a word, names or numbers; None for no labels.

        Raises:
            ValueError: for sentences that are no lists of words, tags of another number, or unknown ones.
        """
        if hasattr(sentences, "dtype") and sentences.dtype.kind in "iu":
            return sentences, tags
        ids, words = self._words(sentences)
        if tags is None:
            return ids, None
        if len(tags) != len(sentences):
            raise ValueError(
                f"Each sentence needs its tags; received {len(sentences)} and {len(tags)} lists."
            )
        for i, (row, its) in enumerate(zip(sentences, tags, strict=True)):
            if len(row) != len(its):
                raise ValueError(
                    f"Each word has one tag; sentence {i} has {len(row)} words and {len(its)} tags: {row!r:.60}."
                )
        if self.head is None:
            found = {str(tag) for row in tags for tag in row}
            self.swap_head(sorted(found, key=lambda tag: (tag != "O", tag)))
        cut = sum(len(row) for row in sentences) - int(_first(words).sum())
        if cut:
            warnings.warn(
                f"{cut} words stand beyond the longest row ({ids.shape[1]} tokens) and get no label."
            )
        number = {name: i for i, name in enumerate(self.tags)} | {i: i for i in range(len(self.tags))}
        labels = np.full(ids.shape, -1, "int32")
        for i, j in np.argwhere(_first(words)):
            tag = tags[i][words[i, j]]
            if tag not in number:
                raise ValueError(
                    f"The tag {tag!r} of sentence {i} is none of this task's: {', '.join(map(str, self.tags[:12]))}. "
                    f"Correct it, or put a head for the new tags on: swap_head(tags)."
                )
            labels[i, j] = number[tag]
        return ids, TokenIds(labels)

    def tag(self, sentences, *, batch_size=64):
        """The tags of all words of sentences of any length: a list of lists of names.

        A sentence that is longer than a row is read in parts, one after the other.

        Args:
            sentences: list of lists of words.
            batch_size: rows a step.
        """
        if self.head is None:
            raise ValueError("This task has no head yet: finetune it, or call swap_head(tags).")
        found = [[] for _ in sentences]
        left = [i for i, row in enumerate(sentences) if len(row)]
        while left:
            ids, words = self._words([sentences[i][len(found[i]) :] for i in left])
            logits = self.predict(np.asarray(ids), batch_size=batch_size, verbose=0)
            for row, i in enumerate(left):
                places = np.flatnonzero(_first(words[row : row + 1])[0])
                found[i] += [self.tags[k] for k in logits[row, places].argmax(-1)]
            left = [i for i in left if len(found[i]) < len(sentences[i])]
        return found

    def _words(self, sentences):
        tokenization = needed_tokenization(self.backbone, reads="words", instead="ids and labels (n, tokens)")
        sentences = list(sentences)
        if not sentences or any(
            isinstance(row, (str, bytes)) or not hasattr(row, "__len__") for row in sentences
        ):
            raise ValueError(
                'Tagger reads lists of words, such as [["Anna", "sings"]]; received '
                f"{'nothing' if not sentences else repr(sentences[0])[:60]}. Cut texts into words first: text.split()."
            )
        return tokenization.encode_words(sentences)


def _first(words):
    """Bool: which tokens are the first of their word, from the word of each token (-1 for none)."""
    words = np.asarray(words)
    before = np.concatenate([np.full_like(words[:, :1], -1), words[:, :-1]], axis=1)
    return (words >= 0) & (words != before)


def _names(tags):
    if not isinstance(tags, (list, tuple)):
        return [str(i) for i in range(count(tags, "tags"))]
    names = [str(tag) for tag in tags]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"tags is a list of different names, or their number; received {tags!r:.80}.")
    return names
