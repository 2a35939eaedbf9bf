"""Losses and figures over tokens, of which examples have different numbers: each token counts the same."""

import math

import keras
from keras import ops

from tftransfer import placement
from tftransfer.layers.config import register
from tftransfer.layers.token_kernels import fused_token_scores
from tftransfer.placement.kernels import pays

__all__ = [
    "IGNORED",
    "Perplexity",
    "TokenAccuracy",
    "TokenCrossentropy",
    "bits_per_byte",
    "next_tokens",
    "token_means",
    "token_nats",
    "token_scores",
]

IGNORED = -1  # the label of a token that is no target


def token_means(errors, mask):
    """Each example's share of the mean error over all tokens that count, of all replicas together.

    `m_i = B / N · Σ_t mask_it · error_it` with B examples and N counted tokens in the global batch, so that the mean of
    `m` over the examples is the mean over the tokens, however unevenly they fall to examples and replicas.

    Args:
        errors: `(batch, tokens)`.
        mask: `(batch, tokens)`, 1 = counts.

    Returns:
        Float32 `(batch,)`; zeros where no token counts.

    Example:

    >>> errors = ops.convert_to_tensor([[1.0, 2.0], [6.0, 9.0]])
    >>> float(ops.mean(token_means(errors, ops.convert_to_tensor([[1.0, 1.0], [1.0, 0.0]]))))
    3.0
    """
    mask = ops.cast(mask, "float32")
    sums = ops.sum(ops.where(mask > 0, ops.cast(errors, "float32") * mask, 0.0), axis=-1)  # (b,)
    counted = ops.sum(placement.all_gather(ops.reshape(ops.sum(mask), (1,))))
    _, total = placement.rows_before_and_total(ops.shape(sums)[0])
    return sums * ops.cast(total, "float32") / ops.maximum(ops.stop_gradient(counted), 1.0)


def token_nats(logits, targets):
    """What each target cost: `-log p(target)` in nats, float32 `(batch, tokens)`, 0 where the target is `IGNORED`.

    Args:
        logits: `(batch, tokens, vocabulary)`, of any float type; the softmax is computed in float32.
        targets: int `(batch, tokens)`, -1 for none.

    Example:

    >>> logits = ops.zeros((1, 2, 4))
    >>> [round(float(nats), 4) for nats in token_nats(logits, ops.convert_to_tensor([[3, -1]]))[0]]  # log 4
    [1.3863, 0.0]
    """
    return token_scores(logits, targets)[0]


def token_scores(logits, targets):
    """What each target cost, and whether it was the likeliest word.

    Args:
        logits: `(batch, tokens, vocabulary)`, of any float type; the softmax is computed in float32.
        targets: int `(batch, tokens)`, -1 for none.

    Returns:
        `(nats, right)`, float32 `(batch, tokens)` each: `-log p(target)`, and 1 where no word is likelier; both 0
        where the target is `IGNORED`.

    Example:

    >>> nats, right = token_scores(ops.convert_to_tensor([[[0.0, 9.0], [0.0, 0.0]]]), ops.convert_to_tensor([[1, -1]]))
    >>> float(right[0, 0]), float(nats[0, 1])
    (1.0, 0.0)
    """
    targets, logits = ops.cast(targets, "int32"), ops.cast(logits, "float32")
    counts, words = targets >= 0, ops.maximum(targets, 0)
    if pays(logits):
        nats, right = fused_token_scores(logits, words)
    else:
        nats = ops.sparse_categorical_crossentropy(words, logits, from_logits=True)
        right = _likeliest(logits, words)
    return ops.where(counts, nats, 0.0), ops.where(counts, right, 0.0)


def next_tokens(ids, *, end_id=None):
    """What each token of a row is followed by: `(batch, tokens - 1)`, `IGNORED` where there is nothing to say.

    Padding (0) is no target, and, in rows of several documents, neither is the first token of the next one.

    Args:
        ids: int `(batch, tokens)`.
        end_id: id that ends a document; None where a row is one document.

    Example:

    >>> row = ops.convert_to_tensor([[5, 6, 3, 7, 3, 0]])  # two documents, 3 ends each
    >>> ops.convert_to_numpy(next_tokens(row, end_id=3)).tolist()
    [[6, 3, -1, 3, -1]]
    """
    ids = ops.cast(ids, "int32")
    before, target = ids[:, :-1], ids[:, 1:]
    counts = ops.logical_and(ops.not_equal(target, 0), ops.not_equal(before, 0))
    if end_id is not None:
        counts = ops.logical_and(counts, ops.not_equal(before, end_id))
    return ops.where(counts, target, IGNORED)


@register
class TokenCrossentropy(keras.losses.Loss):
    """Cross-entropy of labelled tokens, from logits: `-mean log p(label)` over all tokens whose label is not -1.

    The loss of tagging and of language models. Every labelled token of the global batch counts the same, on one device
    and on several replicas. Computed in float32.

    Args:
        label_smoothing: ε in [0, 1): the target is `1 − ε + ε / K` for the label, `ε / K` for each other of K.
        reduction, name, dtype: as for every Keras loss.

    Shapes: labels `(batch, tokens)` int, logits `(batch, tokens, classes)`.

    Raises:
        ValueError: for a smoothing outside [0, 1).

    Example:

    >>> loss = TokenCrossentropy()
    >>> round(float(loss([[0, -1]], [[[2.0, 0.0], [0.0, 9.0]]])), 4)
    0.1269
    """

    def __init__(
        self, label_smoothing=0.0, *, reduction="sum_over_batch_size", name="crossentropy", dtype=None
    ):
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing lies in [0, 1); received {label_smoothing!r}.")
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.label_smoothing = label_smoothing

    from_logits = True

    def call(self, y_true, y_pred):
        labels = ops.cast(y_true, "int32")
        logits = ops.cast(y_pred, "float32")
        errors = token_nats(logits, labels)
        if self.label_smoothing:
            even = ops.logsumexp(logits, axis=-1) - ops.mean(logits, axis=-1)
            errors = (1 - self.label_smoothing) * errors + self.label_smoothing * even
        return token_means(errors, labels >= 0)  # (b,)

    def get_config(self):
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


@register
class TokenAccuracy(keras.metrics.Mean):
    """Share of the labelled tokens whose highest logit is their label; a label of -1 does not count.

    Args:
        name, dtype: as for every Keras metric.

    Shapes: labels `(batch, tokens)` int, logits `(batch, tokens, classes)`.

    Example:

    >>> metric = TokenAccuracy()
    >>> metric.update_state([[1, -1]], [[[0.0, 2.0], [1.0, 0.0]]])
    >>> float(metric.result())
    1.0
    """

    def __init__(self, name="accuracy", dtype=None):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        labels = ops.cast(y_true, "int32")
        return super().update_state(_likeliest(y_pred, labels), _weights(labels, sample_weight))


@register
class Perplexity(keras.metrics.Mean):
    """`exp` of the mean cross-entropy of the labelled tokens: among how many equally likely ones the model hesitates.

    Two models' perplexities compare only over the same vocabulary; bits per byte compare over any.

    Args:
        name, dtype: as for every Keras metric.

    Shapes: labels `(batch, tokens)` int, -1 for none, logits `(batch, tokens, classes)`.

    Example:

    >>> metric = Perplexity()
    >>> metric.update_state([[1, -1]], [[[0.0, 0.0], [1.0, 0.0]]])
    >>> round(float(metric.result()), 4)
    2.0
    """

    def __init__(self, name="perplexity", dtype=None):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        labels = ops.cast(y_true, "int32")
        return super().update_state(token_nats(y_pred, labels), _weights(labels, sample_weight))

    def update_nats(self, nats, mask):
        """Counts what tokens cost (`token_nats`) where that is known already; mask 1 = counts."""
        return super().update_state(nats, mask)

    def result(self):
        return ops.exp(ops.minimum(super().result(), 80.0))  # e^80 is the most that float32 holds, nearly


def bits_per_byte(nats, byte_counts):
    """`Σ nats / ln 2 / Σ bytes`, and the bytes: what texts cost, whatever vocabulary they were cut by.

    Args:
        nats: `(batch, tokens)`.
        byte_counts: UTF-8 bytes that each of the tokens stands for, of the same shape.

    Returns:
        `(bits a byte, bytes)`, two float32 scalars; 0 bits where there are no bytes.

    Example:

    >>> bits, count = bits_per_byte(ops.log(ops.convert_to_tensor([2.0, 4.0])), ops.convert_to_tensor([1, 2]))
    >>> round(float(bits), 4), float(count)
    (1.0, 3.0)
    """
    count = ops.sum(ops.cast(byte_counts, "float32"))
    return ops.sum(ops.cast(nats, "float32")) / math.log(2) / ops.maximum(count, 1.0), count


def _likeliest(logits, labels):
    return ops.cast(ops.equal(ops.cast(ops.argmax(logits, axis=-1), "int32"), labels), "float32")


def _weights(labels, sample_weight):
    counts = ops.cast(labels >= 0, "float32")
    if sample_weight is None:
        return counts
    return counts * ops.reshape(ops.cast(sample_weight, "float32"), (-1, 1))
