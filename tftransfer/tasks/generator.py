"""Texts written by a causal language model."""

import keras
import numpy as np
from keras import ops

from tftransfer import placement
from tftransfer.layers import (
    CausalSteps,
    Perplexity,
    TokenAccuracy,
    TokenCrossentropy,
    TokenIds,
    choose_tokens,
    kept_writer,
    looks_ahead,
    needed_tokenization,
    next_tokens,
    register,
    text_ids,
    word_table,
    write_tokens,
)
from tftransfer.layers.config import Configured
from tftransfer.tasks.task import Task, count

_PIECE, _ROW = 8, 32  # prompts are read, and rows are filled, in multiples, so that few lengths are compiled


@register
class VocabularyBias(Configured, keras.layers.Layer):
    """Adds a learned number to each word's logit; it starts at 0."""

    def build(self, input_shape):
        self.bias = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="bias")

    def call(self, logits):
        return logits + ops.cast(self.bias, logits.dtype)


@register
class Generator(Task):
    """A causal language model that writes: what `objectives.CausalLM` pretrained, fine-tuned on texts or as it is.

    Its logits are the product of the features with the backbone's own word table, and a bias that starts at 0, so that
    it says what was pretrained before any fine-tuning. `generate` keeps the keys and values (or the states) of what was
    read: a token costs what the one before did.

    Reference: Radford et al., Language Models are Unsupervised Multitask Learners, 2019,
    https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf

    Args:
        backbone: a causal text backbone (`backbones.gpt`, `transformer_text(causal=True)`, `lstm`, `gru`), or the path
            of a self-describing `.weights.h5` file.
        dropout: dropout rate of the features, in [0, 1).

    Input: texts for `finetune` and `evaluate`, or ids `(batch, tokens)` with the token that follows each as its label,
    -1 for none, as `encode` makes them. Output: logits `(batch, tokens, vocabulary)`.

    Raises:
        ValueError: for a backbone that reads no texts, or in which a token sees later ones.

    Example:

    >>> from tftransfer import backbones
    >>> from tftransfer.layers import Tokenization
    >>> tokenization = Tokenization(max_length=9).adapt(["the cat sat"] * 4, vocabulary_size=40, verbose=0)
    >>> task = Generator(backbones.gpt(tokenization, width=8, depth=1, num_heads=1))
    >>> [text] = task.generate(["the cat"], max_new_tokens=3, temperature=0)
    >>> text.startswith("the cat")
    True
    """

    def __init__(self, backbone, *, dropout=0.0, **kwargs):
        super().__init__(backbone, dropout=dropout, **kwargs)
        self.ids = text_ids(self.backbone, where="Generator")
        if (
            looks_ahead(self.backbone)
            or self.backbone.output_shape[-1] != word_table(self.backbone).shape[-1]
        ):
            raise ValueError(
                f"Generator writes with a backbone in which a token sees only those before it; {self.backbone.name!r} "
                f"is none. Use backbones.gpt, transformer_text(..., causal=True), or a one-directional lstm or gru."
            )
        self.pool = keras.layers.Identity(name="pool")
        with self.scope():
            self.head = VocabularyBias(name="head")
            self.head.build((None, None, self.ids.vocabulary_size))
        object.__setattr__(self, "_writers", {})  # compiled writers are no part of the model

    def default_loss(self, one_hot=False):
        return TokenCrossentropy()

    def default_metrics(self, one_hot=False):
        return [TokenAccuracy(), Perplexity()]

    def logits(self, features):
        """`(…, vocabulary)` from features of the last layer."""
        table = ops.cast(word_table(self.backbone), features.dtype)
        return self.head(ops.matmul(features, ops.transpose(table)))

    def call(self, inputs, training=None):
        features = self.backbone(inputs, training=training)
        return self.logits(features if self.drop is None else self.drop(features, training=training))

    def encode(self, texts, labels=None):
        """Texts as ids that end with the end, each with what follows it as its label: `(ids, labels)`.

        Args:
            texts: list of texts, one a row; a longer one loses its end. Ids are returned as they are, with labels where
                none are given.
            labels: of ids.
        """
        if not (hasattr(texts, "dtype") and texts.dtype.kind in "iu"):
            length = self._tokenization().max_length
            rows = [[*row, self.ids.end_id][:length] for row in self._tokenization().ids(list(texts))]
            texts = TokenIds(_padded(rows, length), self._tokenization().checksum)
        if labels is None:
            follow = ops.convert_to_numpy(next_tokens(np.asarray(texts), end_id=self.ids.end_id))
            labels = TokenIds(np.pad(follow, ((0, 0), (0, 1)), constant_values=-1))
        return texts, labels

    def generate(
        self, prompts, *, max_new_tokens=64, temperature=1.0, top_k=None, top_p=None, seed=0, cache=True
    ):
        """Goes on with texts.

        Args:
            prompts: list of texts, or of lists of ids; none is empty.
            max_new_tokens: tokens that are added to each at most; fewer where the text ends.
            temperature: 0 takes the likeliest token each time, 1 follows the model, more is bolder.
            top_k: how many of the likeliest tokens are drawn from; None for all.
            top_p: share that the likeliest tokens drawn from have together, in (0, 1]; None for all.
            seed: of the draws; the same seed writes the same.
            cache: False reads the whole text anew for each token: the same texts, slowly, by any causal backbone.

        Returns:
            A list of texts, each with its prompt; for ids a list of lists of ids.

        Raises:
            ValueError: for prompts without tokens, texts longer than the position table, numbers out of range.
        """
        prompts = list(prompts)
        texts = bool(prompts) and isinstance(prompts[0], (str, bytes))
        rows = self._tokenization().ids(prompts) if texts else [[int(i) for i in row] for row in prompts]
        self._check(rows, count(max_new_tokens, "max_new_tokens"), temperature, top_k, top_p)
        lengths = np.array([len(row) for row in rows], "int32")
        total = int(lengths.max()) + max_new_tokens
        places = CausalSteps(self.backbone).max_length if cache else None
        if places is not None and total > places:
            raise ValueError(
                f"The longest prompt has {lengths.max()} tokens; with max_new_tokens={max_new_tokens} that is more "
                f"than the {places} places of the position table. Ask for fewer, or cut the prompt."
            )
        start = 1 + (int(lengths.min()) - 1) // _PIECE * _PIECE
        room = -(-total // _ROW) * _ROW if cache else total
        draws = np.random.default_rng(seed).random((len(rows), total), "float32")
        draws = np.pad(draws, ((0, 0), (0, room - total)))
        read = {
            "ids": _padded(rows, room),
            "lengths": lengths,
            "ends": lengths + max_new_tokens,
            "draws": draws,
        }
        ids = self._writer(start, cache, temperature, top_k, top_p).predict_on_batch(read)
        ids = [[int(i) for i in row if i] for row in ids]
        return [self._tokenization().decode(np.array(row)) for row in ids] if texts else ids

    def _writer(self, *settings):
        """The compiled loop for these settings, made anew where weights were added or exchanged."""
        return kept_writer(self._writers, self, settings, _Writer)

    def _tokenization(self):
        return needed_tokenization(self.backbone, instead="lists of ids")

    def _check(self, rows, new, temperature, top_k, top_p):
        empty = [i for i, row in enumerate(rows) if not row]
        if not rows or empty:
            which = f"prompt {empty[0]} has no token" if rows else "there is no prompt"
            raise ValueError(f"generate goes on with texts of at least one token; {which}.")
        known = {i for row in rows for i in row}
        if not known <= set(range(1, self.ids.vocabulary_size)) - {self.ids.end_id}:
            raise ValueError(
                f"Prompts are ids from 1 to {self.ids.vocabulary_size - 1} without that of the end "
                f"({self.ids.end_id}); received {min(known)} to {max(known)}."
            )
        if not temperature >= 0 or (top_p is not None and not 0 < top_p <= 1):
            raise ValueError(
                f"temperature is 0 or more, top_p in (0, 1]; received {temperature!r} and {top_p!r}."
            )
        if top_k is not None:
            count(top_k, "top_k")


class _Writer(placement.PlacedModel):
    """The whole loop as one model, so that Keras compiles it on either backend."""

    def __init__(self, task, start, cache, temperature, top_k, top_p):
        super().__init__(name="writer")
        self.backbone, self.head = task.backbone, task.head
        object.__setattr__(self, "logits", task.logits)
        self.start, self.cache, self.end_id = start, cache, task.ids.end_id
        self.cut = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        self.built = True

    def call(self, inputs):
        ids, lengths, draws = ops.cast(inputs["ids"], "int32"), inputs["lengths"], inputs["draws"]
        ends = {"ends": inputs["ends"], "end_id": self.end_id}
        batch, length = ops.shape(ids)

        def choose(logits, place):
            return choose_tokens(logits, ops.take(draws, place, axis=1), **self.cut)

        if not self.cache:
            return write_tokens(self._anew, ops.zeros_like(ids), ids, lengths, choose, **ends)
        steps = CausalSteps(self.backbone)
        cache, start = steps.empty(batch, length), 1
        if steps.at_once and self.start > 1:
            _, cache = steps(ids[:, : self.start - 1], 0, cache)
            start = self.start

        def step(tokens, place, cache):
            features, cache = steps(tokens, place, cache)
            return self.logits(features)[:, 0], cache

        return write_tokens(step, cache, ids, lengths, choose, start=start, **ends)

    def _anew(self, tokens, place, seen):
        """The whole text once more; what is not written yet is padding."""
        seen = ops.slice_update(seen, (0, place), tokens)
        features = self.backbone(seen, training=False)
        size = (ops.shape(seen)[0], 1, features.shape[-1])
        return self.logits(ops.slice(features, (0, place, 0), size))[:, 0], seen


def _padded(rows, length):
    ids = np.zeros((len(rows), length), "int32")
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
    return ids
