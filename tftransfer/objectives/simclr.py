"""SimCLR: two views of a picture attract, all other pictures of the batch repel."""

from keras import ops

from tftransfer import placement
from tftransfer.layers import contrast, projector, register
from tftransfer.objectives.joint_embedding import JointEmbedding


def nt_xent(projections_1, projections_2, *, temperature):
    """Normalised temperature-scaled cross entropy over all pairs of a global batch of N examples.

    `ℓ(i, j) = -log( exp(cos(z_i, z_j) / τ) / Σ_{k ≠ i} exp(cos(z_i, z_k) / τ) )`, averaged over the 2N anchors,
    the positive `j` being the other view of the same example. Under replicas the anchors are this replica's rows
    and the candidates everyone's.

    Args:
        projections_1, projections_2: `(batch, dim)`, the first and second views in the same order.
        temperature: τ > 0.

    Returns:
        Float32 scalar, the mean over this replica's anchors.

    Example:

    >>> z = ops.eye(4)
    >>> loss = nt_xent(z, z, temperature=1.0)  # positives at cosine 1, six others at 0
    >>> bool(abs(float(loss) - (-1 + ops.log(ops.exp(1.0) + 6))) < 1e-6)
    True
    """
    z1 = ops.normalize(ops.cast(projections_1, "float32"), axis=-1)
    z2 = ops.normalize(ops.cast(projections_2, "float32"), axis=-1)
    before, total = placement.rows_before_and_total(ops.shape(z1)[0])
    anchors = ops.concatenate([z1, z2], axis=0)  # (2·local, dim)
    candidates = ops.concatenate(
        [placement.all_gather(z1), placement.all_gather(z2)], axis=0
    )  # (2·total, dim)
    rows = ops.arange(ops.shape(z1)[0]) + before  # this replica's places in the global batch
    own = ops.concatenate([rows, rows + total], axis=0)
    positive = ops.concatenate([rows + total, rows], axis=0)
    return contrast(anchors, candidates, positive, temperature=temperature, own=own)


@register
class SimCLR(JointEmbedding):
    """Contrastive pretraining on pictures: tell the two views of each example from those of all others.

    The objective to try first on pictures with a convolutional backbone; it wants large batches (256 and more),
    long training, and augmentations that keep what matters (no mirroring for digits).

    Reference: Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, 2020,
    https://arxiv.org/abs/2002.05709
    Differs from it in: augmentation without hue and blur (see `layers.RandomView`).

    Small data, one GPU: `temperature=0.5`, the paper's best for CIFAR-10, and batches from 256 up.

    Args:
        backbone: any built `keras.Model`; its features are averaged over places.
        augmentation: a Keras layer that gives one random view of a batch; by default `layers.RandomView()`.
        projection_width: size of the projections compared in the loss.
        temperature: τ of the loss (0.1 for large batches and long runs, 0.5 for small ones).

    Input: a batch of examples, or `{"view_1": …, "view_2": …}` made beforehand.
    Output: `{"projections_1": (batch, projection_width), "projections_2": …}`.

    Raises:
        ValueError: for a temperature that is not positive, or a batch of one example.

    Example:

    >>> import keras
    >>> from tftransfer import backbones
    >>> objective = SimCLR(backbones.cnn((8, 8, 1), filters=(8, 16)))
    >>> objective.compile("adam")
    >>> history = objective.fit(keras.random.uniform((32, 8, 8, 1)), batch_size=16, verbose=0)
    """

    default_learning_rate = 3e-3

    def __init__(self, backbone, *, augmentation=None, projection_width=128, temperature=0.1, **kwargs):
        if not temperature > 0:
            raise ValueError(f"temperature must be positive; received {temperature}.")
        super().__init__(backbone, augmentation=augmentation, **kwargs)
        self.projection_width = projection_width
        self.temperature = temperature
        width = self.embedding_width
        self.projector = projector(width, widths=(width, projection_width))

    def call(self, inputs, training=None):
        views = self.views(inputs)
        features = self.backbone(ops.concatenate(views, axis=0), training=training)
        projections = self.projector(self.pool(features), training=training)  # (2·batch, width)
        first, second = ops.split(projections, 2, axis=0)
        return {"projections_1": first, "projections_2": second}

    def compute_objective(self, outputs):
        return nt_xent(outputs["projections_1"], outputs["projections_2"], temperature=self.temperature)
