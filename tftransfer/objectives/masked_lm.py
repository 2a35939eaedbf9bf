"""Masked language model: hide a part of the tokens, say what they were."""

import keras
from keras import ops

from tftransfer.layers import at_places, hide_tokens, looks_ahead, register
from tftransfer.objectives.language_model import LanguageModel


@register
class MaskedLM(LanguageModel):
    """Hides 15% of a text's tokens and predicts them from both sides: BERT's objective, with RoBERTa's changing masks.

    The one to try first for classification, tagging and pairs, over a backbone that looks both ways (`backbones.bert`,
    `transformer_text`, or a bidirectional `lstm`). Of the hidden tokens 80% become the mask, 10% a random token, 10%
    stay; padding and special tokens are never hidden. The loss is the cross-entropy of the hidden tokens, in float32;
    the product with the vocabulary, the dearest part of a small model, is computed at their places alone. The output
    layer is the word table itself, behind one dense layer and a norm, as published.

    Reference: Devlin et al., BERT, 2018, https://arxiv.org/abs/1810.04805; Liu et al., RoBERTa, 2019,
    https://arxiv.org/abs/1907.11692 (masks drawn anew in every step, no next-sentence loss)
    Differs from them in: a number of hidden tokens fixed by the text's length, not drawn.

    Small data, one GPU: `mask_ratio` of 0.15 to 0.4 all serve (Wettig et al., 2022, https://arxiv.org/abs/2202.08005).
    Where texts are long, `pretrain(..., length_warmup=0.5)` reads them cut short at first (BERT read rows of 128 in
    nine tenths of its steps, of 512 in the last).

    Args:
        backbone: a text backbone that looks both ways.
        mask_ratio: share of the tokens that is hidden, in (0, 1).
        whole_words: whether the pieces of a word are hidden together; needs a tokenization.
        mask_id: id of the mask, for a backbone without a tokenization (`bert((length,), vocabulary_size=…)`).
        seed: seed of the masks.

    Input: ids `(batch, tokens)`, 0 = padding.
    Output: `{"logits": (batch, hidden, vocabulary), "targets": (batch, hidden), "nats": (batch, hidden)}`, targets -1
    where a shorter text has fewer hidden tokens.

    Raises:
        ValueError: for a backbone that reads no texts or sees only what is before, a ratio outside (0, 1), no mask.

    Example:

    >>> from tftransfer import backbones
    >>> bert = backbones.bert((8,), vocabulary_size=50, width=8, depth=1, num_heads=1)
    >>> objective = MaskedLM(bert, mask_id=49)
    >>> objective.compile("adam")
    >>> history = objective.fit(keras.random.randint((16, 8), 1, 49), verbose=0)
    """

    def __init__(self, backbone, *, mask_ratio=0.15, whole_words=False, mask_id=None, seed=0, **kwargs):
        super().__init__(backbone, mask_id=mask_id, **kwargs)
        backbone = self.backbone
        if not 0 < mask_ratio < 1:
            raise ValueError(f"mask_ratio lies in (0, 1); received {mask_ratio!r}.")
        if self.ids.mask_id is None:
            raise ValueError(
                f"MaskedLM needs an id to put in the place of hidden tokens, and {backbone.name!r} has no tokenization "
                f"with one. Build it on a layers.Tokenization, or give mask_id=, an id that no text holds."
            )
        if looks_ahead(backbone) is False:
            raise ValueError(
                f"MaskedLM predicts a token from both sides, and {backbone.name!r} sees only what stands before. Use "
                f"CausalLM, or a backbone that looks both ways: bert, transformer_text, lstm(..., bidirectional=True)."
            )
        if whole_words and self.ids.continues_word is None:
            raise ValueError(
                "whole_words=True asks the tokenization which tokens go on with a word; this backbone has none. Build "
                "it on a layers.Tokenization."
            )
        self.mask_ratio = mask_ratio
        self.whole_words = whole_words
        self.seed = seed
        self.random = keras.random.SeedGenerator(seed)
        width = backbone.output_shape[-1]
        self.head = keras.Sequential(
            [
                keras.Input((None, width), name="features"),
                keras.layers.Dense(self.word_width, activation="gelu", name="dense"),
                keras.layers.LayerNormalization(epsilon=1e-12, name="norm"),
            ],
            name="head",
        )
        self.bias = self.add_weight(shape=(self.ids.vocabulary_size,), initializer="zeros", name="bias")

    def call(self, inputs, training=None):
        ids = ops.cast(inputs, "int32")
        corrupted, places, mask = hide_tokens(
            ids,
            ratio=self.mask_ratio,
            special_ids=self.ids.special_ids,
            mask_id=self.ids.mask_id,
            vocabulary_size=self.ids.vocabulary_size,
            seed=self.random,
            continues_word=self.ids.continues_word if self.whole_words else None,
        )
        features = self.backbone(corrupted, training=training)  # (b, n, width)
        logits = self.tied_logits(self.head(at_places(features, places)))  # (b, hidden, vocabulary)
        targets = ops.where(mask > 0, ops.take_along_axis(ids, places, axis=1), -1)
        return self.judged(logits + ops.cast(self.bias, logits.dtype), targets)
