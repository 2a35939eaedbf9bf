"""Span denoising: an encoder reads a text with holes, a decoder says what was in them."""

import keras
from keras import ops

from tftransfer.layers import TextDecoder, cut_spans, looks_ahead, register, word_table
from tftransfer.objectives.language_model import LanguageModel

TARGETS = ("spans", "text")


@register
class SpanDenoising(LanguageModel):
    """Cuts spans out of a text and has a decoder write them, or the whole text: T5's and BART's objective.

    The pretraining for `tasks.Seq2Seq`, which takes the decoder over: `Seq2Seq("encoder.weights.h5",
    decoder=objective.decoder)`. 15% of the tokens are cut out in spans of three on average, each replaced by one mask.
    With `target="spans"` the decoder writes the spans alone, a mask before each (T5); with `target="text"` the whole
    text (BART's infilling), which costs more a step and suits generation. Words are embedded, and scored, by the
    backbone's own table; the loss is the cross-entropy of what is to be written, in float32.

    Reference: Raffel et al., Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer (T5),
    2019, https://arxiv.org/abs/1910.10683; Lewis et al., BART: Denoising Sequence-to-Sequence Pre-training, 2019,
    https://arxiv.org/abs/1910.13461
    Differs from them in: one mask for all spans, which their order tells apart, where T5 has a hundred; spans as T5
    draws them for both targets; a small pre-norm decoder with rotary positions.

    Small data, one GPU: two blocks of decoder over an encoder of four.

    Args:
        backbone: a text backbone that looks both ways (`backbones.bert`, `transformer_text`), on a `Tokenization`.
        target: "spans" or "text".
        noise_ratio: share of the tokens that is cut out, in (0, 1).
        span_length: of a span on average, in tokens.
        decoder: a `layers.TextDecoder`; by default one of two blocks.
        seed: seed of the spans.

    Input: ids `(batch, tokens)`, 0 = padding.
    Output: `{"logits": (batch, written, vocabulary), "targets": (batch, written), "nats": …}`, targets -1 behind the
    end.

    Raises:
        ValueError: for a backbone that reads no texts, sees only what is before or has no tokenization, another target,
            or numbers out of range.

    Example:

    >>> from tftransfer import backbones
    >>> from tftransfer.layers import Tokenization
    >>> tokenization = Tokenization(max_length=8).adapt(["the cat sat"] * 4, vocabulary_size=40, verbose=0)
    >>> objective = SpanDenoising(backbones.bert(tokenization, width=8, depth=1, num_heads=1))
    >>> objective.compile("adam")
    >>> history = objective.fit(tokenization.encode(["the cat sat"] * 8), verbose=0)
    """

    def __init__(
        self, backbone, *, target="spans", noise_ratio=0.15, span_length=3.0, decoder=None, seed=0, **kwargs
    ):
        super().__init__(backbone, **kwargs)
        if target not in TARGETS:
            raise ValueError(f"target is 'spans' or 'text'; received {target!r}.")
        if not 0 < noise_ratio < 1 or not span_length >= 1:
            raise ValueError(
                f"noise_ratio lies in (0, 1) and span_length is 1 or more; received {noise_ratio!r} and "
                f"{span_length!r}."
            )
        if self.ids.mask_id is None or self.ids.end_id is None or looks_ahead(backbone) is False:
            raise ValueError(
                f"SpanDenoising takes a backbone that looks both ways, such as backbones.bert, on a "
                f"layers.Tokenization, whose start, end and mask it needs; {backbone.name!r} is another. Use CausalLM "
                f"for a causal one."
            )
        self.target = target
        self.noise_ratio = noise_ratio
        self.span_length = span_length
        self.seed = seed
        self.random = keras.random.SeedGenerator(seed)
        if decoder is None:
            decoder = TextDecoder(depth=2, num_heads=max(1, self.word_width // 64), name="decoder")
        self.decoder = decoder
        if not decoder.built:
            decoder.build((None, None, self.word_width), backbone.output_shape)

    def call(self, inputs, training=None):
        ids = ops.cast(inputs, "int32")
        corrupted, spans, _ = cut_spans(
            ids,
            ratio=self.noise_ratio,
            mean_length=self.span_length,
            special_ids=self.ids.special_ids,
            mask_id=self.ids.mask_id,
            end_id=self.ids.end_id,
            seed=self.random,
        )
        written = spans if self.target == "spans" else _behind_start(ids, self.ids.start_id)
        features = self.backbone(corrupted, training=training)  # (b, n, width)
        start = ops.full_like(written[:, :1], self.ids.start_id)
        before = ops.concatenate([start, written[:, :-1]], axis=1)
        words = ops.take(word_table(self.backbone), before, axis=0)  # (b, written, word width)
        hidden = self.decoder(words, features, ops.not_equal(corrupted, 0), training=training)
        return self.judged(self.tied_logits(hidden), ops.where(ops.equal(written, 0), -1, written))


def _behind_start(ids, start_id):
    """The text without the token that begins it, which the decoder is given."""
    moved = ops.concatenate([ids[:, 1:], ops.zeros_like(ids[:, :1])], axis=1)
    return ops.where(ops.equal(ids[:, :1], start_id), moved, ids)
