"""VICReg: views agree, every dimension varies, no two dimensions covary."""

from keras import ops

from tftransfer import placement
from tftransfer.layers import projector, register
from tftransfer.objectives.joint_embedding import JointEmbedding


def vicreg_loss(projections_1, projections_2, *, invariance_weight, variance_weight, covariance_weight):
    """Invariance, variance and covariance of two views over the global batch of N examples of D values.

    `λ · mean((z - z')²) + μ · (v(z) + v(z')) / 2 + ν · (c(z) + c(z'))` with
    `v(z) = Σ_j max(0, 1 - √(Var(z_j) + 10⁻⁴)) / D` and `c(z) = Σ_{i ≠ j} Cov(z)_ij² / D`; variance and covariance
    divide by `N - 1`.

    Args:
        projections_1, projections_2: `(batch, dim)`, the two views in the same order.
        invariance_weight, variance_weight, covariance_weight: λ, μ, ν.

    Returns:
        Float32 scalar, the same on every replica.

    Example:

    >>> z = ops.zeros((4, 3))  # collapsed: no variance at all
    >>> weights = {"invariance_weight": 1.0, "variance_weight": 1.0, "covariance_weight": 1.0}
    >>> round(float(vicreg_loss(z, z, **weights)), 3)
    0.99
    """
    z1, z2 = (placement.all_gather(ops.cast(z, "float32")) for z in (projections_1, projections_2))
    invariance = ops.mean(ops.square(z1 - z2))
    (variance_1, covariance_1), (variance_2, covariance_2) = _spread(z1), _spread(z2)
    return (
        invariance_weight * invariance
        + variance_weight * (variance_1 + variance_2) / 2
        + covariance_weight * (covariance_1 + covariance_2)
    )


def _spread(z):
    """The variance and the covariance term of one view."""
    centred = z - ops.mean(z, axis=0, keepdims=True)
    freedom = ops.maximum(ops.cast(ops.shape(z)[0], "float32") - 1, 1.0)
    covariance = ops.matmul(ops.transpose(centred), centred) / freedom  # (dim, dim)
    variances = ops.diagonal(covariance)  # (dim,)
    variance = ops.mean(ops.relu(1 - ops.sqrt(variances + 1e-4)))
    off_diagonal = ops.sum(ops.square(covariance)) - ops.sum(ops.square(variances))
    return variance, off_diagonal / ops.cast(ops.shape(z)[-1], "float32")


@register
class VICReg(JointEmbedding):
    """Variance-invariance-covariance regularisation: what keeps the features from collapsing is said term by term.

    Needs neither negatives, nor a teacher, nor normalised projections. When features collapse, raise
    `variance_weight`; when their dimensions repeat each other, `covariance_weight`.

    Reference: Bardes et al., VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning,
    2021, https://arxiv.org/abs/2105.04906
    Differs from it in: the terms are averaged as in the authors' code (the invariance over dimensions too, the
    variance over the two views), for which the weights 25, 25, 1 are meant; augmentation without hue, blur and
    solarisation (see `layers.RandomView`).

    Small data, one GPU: batches of 256 serve, since there are no negatives to be many (the paper's appendix).

    Args:
        backbone: any built `keras.Model`; its features are averaged over places.
        augmentation: a Keras layer that gives one random view of a batch; by default `layers.RandomView()`.
        projection_width: size of the projections; by default four times the embedding's, the paper's ratio
            (8192 behind a ResNet-50).
        invariance_weight: λ, weight of the distance between the views.
        variance_weight: μ, weight of the variance that is missing to 1.
        covariance_weight: ν, weight of the squared covariances.

    Input: a batch of examples, or `{"view_1": …, "view_2": …}` made beforehand.
    Output: `{"projections_1": (batch, projection_width), "projections_2": …}`.

    Raises:
        ValueError: for weights that are negative, or a batch of one example.

    Example:

    >>> import keras
    >>> from tftransfer import backbones
    >>> objective = VICReg(backbones.cnn((8, 8, 1), filters=(8, 16)))
    >>> objective.compile("adam")
    >>> history = objective.fit(keras.random.uniform((32, 8, 8, 1)), batch_size=16, verbose=0)
    """

    def __init__(
        self,
        backbone,
        *,
        augmentation=None,
        projection_width=None,
        invariance_weight=25.0,
        variance_weight=25.0,
        covariance_weight=1.0,
        **kwargs,
    ):
        weights = (invariance_weight, variance_weight, covariance_weight)
        if min(weights) < 0 or not variance_weight:
            raise ValueError(
                f"The weights of VICReg are 0 or more, and variance_weight above 0, without which the features "
                f"collapse; received {weights} (invariance, variance, covariance)."
            )
        super().__init__(backbone, augmentation=augmentation, **kwargs)
        self.projection_width = projection_width
        self.invariance_weight = invariance_weight
        self.variance_weight = variance_weight
        self.covariance_weight = covariance_weight
        embedding = self.embedding_width
        self.projector = projector(embedding, widths=(projection_width or 4 * embedding,) * 3)

    def call(self, inputs, training=None):
        views = self.views(inputs)
        first, second = (self.project(view, training) for view in views)
        return {"projections_1": first, "projections_2": second}

    def compute_objective(self, outputs):
        return vicreg_loss(
            outputs["projections_1"],
            outputs["projections_2"],
            invariance_weight=self.invariance_weight,
            variance_weight=self.variance_weight,
            covariance_weight=self.covariance_weight,
        )
