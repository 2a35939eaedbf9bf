"""The cross-entropy that contrastive objectives share: find the positive among all candidates of the global batch."""

from keras import ops

from tftransfer import placement

__all__ = ["contrast", "paired_contrast"]


def contrast(anchors, candidates, positives, *, temperature, own=None):
    """Cross-entropy of each anchor's positive among the candidates, by cosine: SimCLR's, SCARF's and SimCSE's.

    `-log( exp(cos(a_i, c_p(i)) / τ) / Σ_k exp(cos(a_i, c_k) / τ) )`, averaged over the anchors; k runs over all
    candidates but `own`.

    Reference: van den Oord et al., Representation Learning with Contrastive Predictive Coding, 2018,
    https://arxiv.org/abs/1807.03748

    Args:
        anchors: unit vectors `(anchors, dim)`.
        candidates: unit vectors `(candidates, dim)`.
        positives: `(anchors,)` int, which candidate belongs to each anchor.
        temperature: τ > 0.
        own: `(anchors,)` int, the candidate that is the anchor itself and does not count; None where there is none.

    Returns:
        Float32 scalar.

    Example:

    >>> z = ops.eye(2)
    >>> round(float(contrast(z, z, ops.arange(2), temperature=1.0)), 4)  # log(1 + e⁻¹)
    0.3133
    """
    logits = ops.matmul(anchors, ops.transpose(candidates)) / temperature  # (anchors, candidates)
    if own is not None:
        logits = logits - 1e9 * ops.one_hot(own, ops.shape(candidates)[0], dtype="float32")
    return ops.mean(ops.sparse_categorical_crossentropy(positives, logits, from_logits=True))


def paired_contrast(first, second, *, temperature):
    """Cross-entropy of finding each example's second view among those of the whole global batch.

    `-mean_i log( exp(cos(h_i, h'_i) / τ) / Σ_k exp(cos(h_i, h'_k) / τ) )`. Under replicas the anchors are this
    replica's examples and the candidates everyone's.

    Args:
        first, second: `(batch, dim)`, the two views in the same order.
        temperature: τ > 0.

    Returns:
        Float32 scalar.

    Example:

    >>> z = ops.ones((4, 2))
    >>> round(float(paired_contrast(z, z, temperature=0.05)), 4)  # all alike: log 4
    1.3863
    """
    anchors = ops.normalize(ops.cast(first, "float32"), axis=-1)
    candidates = placement.all_gather(ops.normalize(ops.cast(second, "float32"), axis=-1))
    before, _ = placement.rows_before_and_total(ops.shape(anchors)[0])
    return contrast(anchors, candidates, ops.arange(ops.shape(anchors)[0]) + before, temperature=temperature)
