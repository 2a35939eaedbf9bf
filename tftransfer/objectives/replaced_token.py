"""Replaced token detection: a small model fills gaps, the backbone says of each token whether it is the original."""

import keras
from keras import ops

from tftransfer import placement
from tftransfer.layers import TransformerBlock, at_places, hide_tokens, looks_ahead, register, token_means
from tftransfer.objectives.language_model import LanguageModel


def binary_nats(logits, labels):
    """Binary cross-entropy of each token from logits, in nats: `log(1 + e^z) - y z`, float32.

    Args:
        logits: `(batch, tokens)`.
        labels: `(batch, tokens)`, 0 or 1.

    Example:

    >>> round(float(binary_nats(ops.zeros((1, 1)), ops.ones((1, 1)))[0, 0]), 4)  # log 2
    0.6931
    """
    logits = ops.cast(logits, "float32")
    return ops.softplus(logits) - ops.cast(labels, "float32") * logits


def sampled(logits, draws):
    """One id of each distribution, by the number in [0, 1) that was drawn for it: the first whose share is reached.

    Args:
        logits: `(…, vocabulary)`.
        draws: `(…,)` in [0, 1).

    Example:

    >>> int(sampled(ops.log(ops.convert_to_tensor([0.2, 0.5, 0.3])), ops.convert_to_tensor(0.4)))
    1
    """
    shares = ops.cumsum(ops.softmax(ops.cast(logits, "float32"), axis=-1), axis=-1)
    reached = shares <= ops.expand_dims(draws, -1) * shares[..., -1:]
    return ops.minimum(ops.sum(ops.cast(reached, "int32"), axis=-1), logits.shape[-1] - 1)


@register
class ReplacedToken(LanguageModel):
    """Says of each token whether a small generator has replaced it: ELECTRA.

    Every token is a target, not 15% of them, so that a small budget goes further than with `MaskedLM`; what is lost is
    the ability to fill gaps. The generator shares the backbone's embedder, is trained as a masked language model beside
    it, and is thrown away: `loss = masked_lm + 50 · replaced`. `accuracy` and `bits_per_byte` are the generator's,
    `detection` is the share of tokens that the backbone judges rightly.

    Reference: Clark et al., ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators, 2020,
    https://arxiv.org/abs/2003.10555
    Differs from it in: the generator has its own two blocks of rotary attention on the shared embeddings, and draws no
    special tokens.

    Small data, one GPU: a generator of a quarter to half the backbone's width; a larger one makes the task too hard.

    Args:
        backbone: a text backbone that looks both ways (`backbones.bert`, `transformer_text`).
        mask_ratio: share of the tokens that the generator fills in, in (0, 1).
        generator_width: width of the generator's tokens; by default a quarter of the backbone's, at least 16.
        weight: of the backbone's loss beside the generator's.
        mask_id: id of the mask, for a backbone without a tokenization.
        seed: seed of the masks and of the generator's draws.

    Input: ids `(batch, tokens)`, 0 = padding.
    Output: as of `MaskedLM`, of the generator; and `{"detected": (batch, tokens), "replaced": (batch, tokens)}`, logits
    and what is right, -1 at padding.

    Raises:
        ValueError: for a backbone that reads no texts or sees only what is before, a ratio outside (0, 1), no mask.

    Example:

    >>> from tftransfer import backbones
    >>> bert = backbones.bert((8,), vocabulary_size=50, width=16, depth=1, num_heads=1)
    >>> objective = ReplacedToken(bert, mask_id=49)
    >>> objective.compile("adam")
    >>> history = objective.fit(keras.random.randint((16, 8), 1, 49), verbose=0)
    """

    def __init__(
        self, backbone, *, mask_ratio=0.15, generator_width=None, weight=50.0, mask_id=None, seed=0, **kwargs
    ):
        super().__init__(backbone, mask_id=mask_id, **kwargs)
        if not 0 < mask_ratio < 1 or not weight > 0:
            raise ValueError(
                f"mask_ratio lies in (0, 1) and weight is positive; received {mask_ratio!r} and {weight!r}."
            )
        if self.ids.mask_id is None or looks_ahead(backbone) is False:
            raise ValueError(
                f"ReplacedToken takes a backbone that looks both ways, such as backbones.bert, with a mask among its "
                f"ids; {backbone.name!r} has mask_id={self.ids.mask_id}. Use CausalLM, or give mask_id=."
            )
        self.mask_ratio = mask_ratio
        self.generator_width = generator_width
        self.weight = weight
        self.seed = seed
        self.random = keras.random.SeedGenerator(seed)
        self.detection = keras.metrics.Mean(name="detection")
        self.generator = self._generator(generator_width or max(16, self.word_width // 4 // 2 * 2))
        self.head = keras.Sequential(
            [
                keras.Input((None, backbone.output_shape[-1]), name="features"),
                keras.layers.Dense(backbone.output_shape[-1], activation="gelu", name="dense"),
                keras.layers.Dense(1, name="replaced"),
            ],
            name="head",
        )

    def _generator(self, width):
        tokens = keras.Input((None, self.word_width), name="tokens")
        segments = keras.Input((None,), dtype="int32", name="segments")
        heads = next(n for n in range(max(1, width // 32), 0, -1) if width % (2 * n) == 0)
        x = keras.layers.Dense(width, name="narrow")(tokens)
        for i in range(2):
            x = TransformerBlock(heads, rotary=True, name=f"block_{i:02d}")(x, segments)
        x = keras.layers.Dense(self.word_width, activation="gelu", name="wide")(x)
        x = keras.layers.LayerNormalization(epsilon=1e-12, name="norm")(x)
        return keras.Model([tokens, segments], x, name="generator")

    def call(self, inputs, training=None):
        ids = ops.cast(inputs, "int32")
        hidden, places, mask = hide_tokens(
            ids,
            ratio=self.mask_ratio,
            special_ids=self.ids.special_ids,
            mask_id=self.ids.mask_id,
            vocabulary_size=self.ids.vocabulary_size,
            seed=self.random,
            kept=0.0,
            random=0.0,
        )
        known = ops.cast(ops.not_equal(ids, 0), "int32")
        tokens = self.backbone.get_layer("embedder")(hidden, training=training)
        filled = self.generator([tokens, known], training=training)  # (b, n, word width)
        logits = self.tied_logits(at_places(filled, places))  # (b, hidden, vocabulary)
        targets = ops.where(mask > 0, ops.take_along_axis(ids, places, axis=1), -1)
        corrupted = self._filled(ids, places, mask, ops.stop_gradient(logits))
        detected = self.head(self.backbone(corrupted, training=training))[..., 0]  # (b, n)
        replaced = ops.where(known > 0, ops.cast(ops.not_equal(corrupted, ids), "int32"), -1)
        return {**self.judged(logits, targets), "detected": detected, "replaced": replaced}

    def _filled(self, ids, places, mask, logits):
        """The ids with the generator's draws in the hidden places."""
        draws = placement.per_example(
            lambda rows: keras.random.uniform(
                (rows, ops.shape(places)[1]), dtype="float32", seed=self.random
            ),
            ops.shape(ids)[0],
        )
        special = ops.one_hot(
            ops.convert_to_tensor(self.ids.special_ids), self.ids.vocabulary_size, dtype="float32"
        )
        drawn = sampled(ops.cast(logits, "float32") - 1e9 * ops.sum(special, axis=0), draws)  # (b, hidden)
        drawn = ops.where(mask > 0, drawn, ops.take_along_axis(ids, places, axis=1))
        at = ops.equal(places[..., None], ops.arange(ops.shape(ids)[1], dtype=places.dtype))  # (b, hidden, n)
        new = ops.sum(ops.where(at, drawn[..., None], 0), axis=1)
        return ops.where(ops.any(at, axis=1), new, ids)

    def compute_objective(self, outputs):
        replaced = outputs["replaced"]
        nats = binary_nats(outputs["detected"], ops.maximum(replaced, 0))
        detection = ops.mean(token_means(nats, replaced >= 0))
        return super().compute_objective(outputs) + self.weight * detection

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        replaced = y_pred["replaced"]
        right = ops.equal(y_pred["detected"] > 0, replaced > 0)
        self.detection.update_state(ops.cast(right, "float32"), ops.cast(replaced >= 0, "float32"))
        return super().compute_metrics(x, y, y_pred, sample_weight)
