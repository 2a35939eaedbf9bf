"""Barlow Twins: two views agree in every dimension, and no two dimensions say the same."""

from keras import ops

from tftransfer import placement
from tftransfer.layers import projector, register
from tftransfer.objectives.joint_embedding import JointEmbedding


def cross_correlation_loss(projections_1, projections_2, *, redundancy_weight, epsilon=1e-5):
    """How far the cross-correlation of two views is from the identity, over the global batch of N examples.

    `Σ_i (1 - C_ii)² + λ Σ_i Σ_{j ≠ i} C_ij²` with `C = Ẑ₁ᵀ Ẑ₂ / N`, where each column of `Ẑ` has mean 0 and
    standard deviation 1 over the batch.

    Args:
        projections_1, projections_2: `(batch, dim)`, the two views in the same order.
        redundancy_weight: λ, weight of the off-diagonal terms.
        epsilon: added to the variances.

    Returns:
        Float32 scalar, the same on every replica.

    Example:

    >>> z = ops.convert_to_tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> round(float(cross_correlation_loss(z, z, redundancy_weight=1.0)), 4)
    0.0
    """
    z1, z2 = (placement.all_gather(ops.cast(z, "float32")) for z in (projections_1, projections_2))
    z1, z2 = _standardized(z1, epsilon), _standardized(z2, epsilon)
    count = ops.cast(ops.shape(z1)[0], "float32")
    correlation = ops.matmul(ops.transpose(z1), z2) / count  # (dim, dim)
    diagonal = ops.diagonal(correlation)  # (dim,)
    on = ops.sum(ops.square(1 - diagonal))
    off = ops.sum(ops.square(correlation)) - ops.sum(ops.square(diagonal))
    return on + redundancy_weight * off


def _standardized(z, epsilon):
    mean, variance = ops.moments(z, axes=[0], keepdims=True)
    return (z - mean) / ops.sqrt(variance + epsilon)


@register
class BarlowTwins(JointEmbedding):
    """Redundancy reduction: the two views' projections correlate dimension by dimension and not across.

    Needs neither negatives nor a teacher, and copes with batches of 128 and 256, where SimCLR suffers; it likes
    wide projections.

    Reference: Zbontar et al., Barlow Twins: Self-Supervised Learning via Redundancy Reduction, 2021,
    https://arxiv.org/abs/2103.03230
    Differs from it in: augmentation without hue, blur and solarisation (see `layers.RandomView`).

    Small data, one GPU: batches of 256 lose little (the paper's figure 2); a wide projection matters more (figure 4).

    Args:
        backbone: any built `keras.Model`; its features are averaged over places.
        augmentation: a Keras layer that gives one random view of a batch; by default `layers.RandomView()`.
        projection_width: size of the projections; by default four times the embedding's, the paper's ratio
            (8192 behind a ResNet-50).
        redundancy_weight: λ of the loss; the paper's 0.0051.

    Input: a batch of examples, or `{"view_1": …, "view_2": …}` made beforehand.
    Output: `{"projections_1": (batch, projection_width), "projections_2": …}`.

    Raises:
        ValueError: for a weight that is not positive, or a batch of one example.

    Example:

    >>> import keras
    >>> from tftransfer import backbones
    >>> objective = BarlowTwins(backbones.cnn((8, 8, 1), filters=(8, 16)))
    >>> objective.compile("adam")
    >>> history = objective.fit(keras.random.uniform((32, 8, 8, 1)), batch_size=16, verbose=0)
    """

    def __init__(
        self, backbone, *, augmentation=None, projection_width=None, redundancy_weight=0.0051, **kwargs
    ):
        if not redundancy_weight > 0:
            raise ValueError(f"redundancy_weight must be positive; received {redundancy_weight}.")
        super().__init__(backbone, augmentation=augmentation, **kwargs)
        self.projection_width = projection_width
        self.redundancy_weight = redundancy_weight
        embedding = self.embedding_width
        self.projector = projector(embedding, widths=(projection_width or 4 * embedding,) * 3)

    def call(self, inputs, training=None):
        views = self.views(inputs)
        first, second = (self.project(view, training) for view in views)
        return {"projections_1": first, "projections_2": second}

    def compute_objective(self, outputs):
        return cross_correlation_loss(
            outputs["projections_1"], outputs["projections_2"], redundancy_weight=self.redundancy_weight
        )
