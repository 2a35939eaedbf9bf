"""From one text to another: translation, summaries, questions."""

import numpy as np
from keras import ops

from tftransfer import placement
from tftransfer.layers import (
    Perplexity,
    TextDecoder,
    TokenAccuracy,
    TokenCrossentropy,
    beam_search,
    kept_writer,
    looks_ahead,
    needed_tokenization,
    register,
    text_ids,
    tokenization_of,
    word_table,
)
from tftransfer.tasks.task import Task, count


@register
class Seq2Seq(Task):
    """Writes a text for a text: the backbone reads, a decoder, the head of this task, writes.

    Learned by teacher forcing, the cross-entropy of each word of the target given those before it; written by the
    likeliest word each time, or by beam search, with the decoder's keys and values kept. One tokenization serves both
    sides, so adapt it on both languages of a translation. `evaluate` gives BLEU and chrF by sacrebleu, where it is
    installed.

    Reference: Vaswani et al., Attention Is All You Need, 2017, https://arxiv.org/abs/1706.03762; Sutskever et al.,
    Sequence to Sequence Learning with Neural Networks, 2014, https://arxiv.org/abs/1409.3215

    Args:
        backbone: a text backbone that looks both ways (`backbones.bert`, `transformer_text`, bidirectional `lstm`), or
            the path of a self-describing `.weights.h5` file.
        decoder: a `layers.TextDecoder`, such as the one that `objectives.SpanDenoising` pretrained; by default a fresh
            one of two blocks.
        max_target_length: tokens of a target at most, its end included.
        dropout: dropout rate of a decoder made here, in [0, 1).

    Input: texts with texts for `finetune` and `evaluate`, or `{"source": ids (batch, n), "target": ids (batch, m)}`
    with labels `(batch, m)`, the target with -1 for padding, as `encode` makes them. Output: logits `(batch, m,
    vocabulary)`.

    Raises:
        ValueError: for a backbone that reads no texts or sees only what is before, or a decoder of another kind.

    Example:

    >>> from tftransfer import backbones
    >>> from tftransfer.layers import Tokenization
    >>> tokenization = Tokenization(max_length=9).adapt(["the cat sat"] * 4, vocabulary_size=40, verbose=0)
    >>> task = Seq2Seq(backbones.bert(tokenization, width=8, depth=1, num_heads=1), max_target_length=6)
    >>> x, y = task.encode(["the cat", "sat"], ["cat the", "sat"])
    >>> tuple(task(x).shape) == (*y.shape, tokenization.vocabulary_size), len(task.generate(["the cat"], beams=2))
    (True, 1)
    """

    def __init__(self, backbone, *, decoder=None, max_target_length=64, dropout=0.0, **kwargs):
        super().__init__(backbone, dropout=dropout, **kwargs)
        self.ids = text_ids(self.backbone, where="Seq2Seq")
        if looks_ahead(self.backbone) is False:
            raise ValueError(
                f"Seq2Seq reads with a backbone that looks both ways; in {self.backbone.name!r} a token sees only "
                f"those before it. Use backbones.bert or transformer_text, or for a causal one tasks.Generator."
            )
        if decoder is not None and not isinstance(decoder, TextDecoder):
            raise ValueError(f"decoder is a layers.TextDecoder; received {type(decoder).__name__}.")
        self.max_target_length = count(max_target_length, "max_target_length")
        width = int(word_table(self.backbone).shape[-1])
        with self.scope():
            if decoder is None:
                decoder = TextDecoder(depth=2, num_heads=max(1, width // 64), dropout=dropout, name="head")
            if not decoder.built:
                decoder.build((None, None, width), self.backbone.output_shape)
        self.head = decoder
        object.__setattr__(self, "_writers", {})  # compiled writers are no part of the model

    @property
    def decoder(self):
        """The head of this task."""
        return self.head

    @property
    def start_id(self):
        """What the decoder begins with: the start of a text, or without tokenization 1."""
        return self.ids.start_id or 1

    def default_loss(self, one_hot=False):
        return TokenCrossentropy()

    def default_metrics(self, one_hot=False):
        return [TokenAccuracy(), Perplexity()]

    def words(self, ids):
        """Vectors of words, of the backbone's own table."""
        return ops.cast(ops.take(word_table(self.backbone), ids, axis=0), self.compute_dtype)

    def logits(self, hidden):
        """`(…, vocabulary)` of what the decoder gives."""
        return ops.matmul(hidden, ops.transpose(ops.cast(word_table(self.backbone), hidden.dtype)))

    def call(self, inputs, training=None):
        source, target = ops.cast(inputs["source"], "int32"), ops.cast(inputs["target"], "int32")
        features = self.backbone(source, training=training)  # (b, n, width)
        before = ops.concatenate([ops.full_like(target[:, :1], self.start_id), target[:, :-1]], axis=1)
        hidden = self.head(self.words(before), features, ops.not_equal(source, 0), training=training)
        return self.logits(hidden)

    def embed(self, inputs, training=None):
        """Embeddings `(batch, dim)` of sources: what the decoder looks at, pooled."""
        return super().embed(inputs["source"] if isinstance(inputs, dict) else inputs, training=training)

    def encode(self, sources, targets=None):
        """Texts as `({"source": ids, "target": ids}, labels)`, cut to the longest; encoded ones return as they are.

        Args:
            sources: list of texts.
            targets: list of texts, one for each; None leaves targets empty, and gives no labels.

        Raises:
            ValueError: for lists of different lengths.
        """
        if isinstance(sources, dict):
            return sources, targets
        sources, tokenization = list(sources), self._tokenization()
        if targets is None:
            return {"source": self._read(sources), "target": np.zeros((len(sources), 1), "int32")}, None
        rows = [[*row, self.ids.end_id][: self.max_target_length] for row in tokenization.ids(list(targets))]
        if len(rows) != len(sources):
            raise ValueError(
                f"Each source needs its target; received {len(sources)} sources and {len(rows)} targets."
            )
        target = np.zeros((len(rows), max(map(len, rows))), "int32")
        for i, row in enumerate(rows):
            target[i, : len(row)] = row
        return {"source": self._read(sources), "target": target}, np.where(target == 0, -1, target)

    def generate(self, sources, *, beams=1, max_new_tokens=None, length_penalty=1.0, batch_size=64):
        """Writes the target of each source.

        Args:
            sources: list of texts, or ids `(n, tokens)`.
            beams: texts that are kept while searching; 1 takes the likeliest word each time.
            max_new_tokens: tokens of a target at most; by default `max_target_length`.
            length_penalty: beams are judged by `Σ log p / tokens^length_penalty`.
            batch_size: texts a step.

        Returns:
            A list of texts; of ids, where the backbone has no tokenization, `(n, tokens)`.
        """
        longest = (
            self.max_target_length if max_new_tokens is None else count(max_new_tokens, "max_new_tokens")
        )
        are_ids = hasattr(sources, "dtype") and sources.dtype.kind in "iu"
        ids = np.asarray(sources if are_ids else self._read(list(sources)))
        writer, parts = self._writer(count(beams, "beams"), longest, float(length_penalty)), []
        for first in range(0, len(ids), batch_size):
            batch = ids[first : first + batch_size]
            short = (
                batch_size - len(batch) if len(ids) > batch_size else 0
            )  # another size would be compiled anew
            parts.append(
                writer.predict_on_batch(np.pad(batch, ((0, short), (0, 0)), mode="edge"))[: len(batch)]
            )
        written = np.concatenate(parts)
        tokenization = tokenization_of(self.backbone)
        return written if tokenization is None else tokenization.decode(written)

    def _read(self, texts):
        ids = np.asarray(self._tokenization().encode(texts))
        return ids[:, : max(int((ids != 0).sum(1).max(initial=1)), 1)]

    def _tokenization(self):
        return needed_tokenization(self.backbone)

    def _writer(self, *settings):
        """The compiled search for these settings, made anew where weights were added or exchanged."""
        return kept_writer(self._writers, self, settings, _Writer)


class _Writer(placement.PlacedModel):
    """The whole search as one model, so that Keras compiles it on either backend."""

    def __init__(self, task, beams, length, length_penalty):
        super().__init__(name="writer")
        self.backbone, self.head = task.backbone, task.head
        object.__setattr__(self, "task", task)
        self.beams, self.length, self.length_penalty = beams, length, length_penalty
        self.built = True

    def call(self, source):
        source, task = ops.cast(source, "int32"), self.task
        rows = ops.shape(source)[0] * self.beams
        features = self.backbone(source, training=False)
        known = ops.repeat(ops.not_equal(source, 0), self.beams, axis=0)
        memory = [
            tuple(ops.repeat(x, self.beams, axis=0) for x in part) for part in self.head.remember(features)
        ]

        def step(tokens, place, cache):
            hidden, cache = self.head.step(task.words(tokens), place, cache, memory, known)
            return task.logits(hidden)[:, 0], cache

        first = ops.full((ops.shape(source)[0],), task.start_id, "int32")
        options = {"beams": self.beams, "length": self.length, "end_id": task.ids.end_id or 0}
        cache = self.head.empty(rows, self.length)
        return beam_search(step, cache, first, length_penalty=self.length_penalty, **options)[0]
