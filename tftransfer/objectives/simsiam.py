"""SimSiam: one view predicts the other, whose side gets no gradient."""

from keras import ops

from tftransfer.layers import projector, register
from tftransfer.objectives.joint_embedding import JointEmbedding


def negative_cosine(predictions, targets):
    """`-mean(cos(p, stop_gradient(z)))`, a float32 scalar in [-1, 1].

    Args:
        predictions: `(batch, dim)`.
        targets: `(batch, dim)`; no gradient reaches them.

    Example:

    >>> float(negative_cosine(ops.eye(3), 2 * ops.eye(3)))
    -1.0
    """
    p = ops.normalize(ops.cast(predictions, "float32"), axis=-1)
    z = ops.normalize(ops.cast(ops.stop_gradient(targets), "float32"), axis=-1)
    return -ops.mean(ops.sum(p * z, axis=-1))


@register
class SimSiam(JointEmbedding):
    """Simple siamese learning: no negatives, no teacher, no large batch; the stopped gradient prevents collapse.

    The smallest of the joint-embedding objectives, good with small batches. Watch the standard deviation of the
    normalised projections: about `1 / √dim` is healthy, 0 is collapse.

    `loss = (D(p₁, z₂) + D(p₂, z₁)) / 2` with `D` of `negative_cosine`.

    Reference: Chen & He, Exploring Simple Siamese Representation Learning, 2020, https://arxiv.org/abs/2011.10566
    Differs from it in: augmentation without hue and blur (see `layers.RandomView`).

    Small data, one GPU: made for it; batches of 128 to 512 stay within a point of each other (the paper's table 2).

    Args:
        backbone: any built `keras.Model`; its features are averaged over places.
        augmentation: a Keras layer that gives one random view of a batch; by default `layers.RandomView()`.
        projection_width: size of the projections; by default the embedding's, as in the paper (2048 behind a
            ResNet-50).
        prediction_width: hidden size of the predictor; by default a quarter of the projections', the paper's
            512, and at least 64.

    Input: a batch of examples, or `{"view_1": …, "view_2": …}` made beforehand.
    Output: `{"predictions_1", "predictions_2", "projections_1", "projections_2"}`, each
    `(batch, projection_width)`.

    Raises:
        ValueError: for a batch of one example.

    Example:

    >>> import keras
    >>> from tftransfer import backbones
    >>> objective = SimSiam(backbones.cnn((8, 8, 1), filters=(8, 16)))
    >>> objective.compile("adam")
    >>> history = objective.fit(keras.random.uniform((32, 8, 8, 1)), batch_size=16, verbose=0)
    """

    def __init__(
        self, backbone, *, augmentation=None, projection_width=None, prediction_width=None, **kwargs
    ):
        super().__init__(backbone, augmentation=augmentation, **kwargs)
        self.projection_width = projection_width
        self.prediction_width = prediction_width
        embedding = self.embedding_width
        width = projection_width or embedding
        self.projector = projector(embedding, widths=(width,) * 3, normalize_last=True)
        self.predictor = projector(
            width, widths=(prediction_width or max(width // 4, 64), width), name="predictor"
        )

    def call(self, inputs, training=None):
        outputs = {}
        for i, view in enumerate(self.views(inputs), start=1):
            projections = self.project(view, training)  # (batch, width)
            outputs[f"projections_{i}"] = projections
            outputs[f"predictions_{i}"] = self.predictor(projections, training=training)
        return outputs

    def compute_objective(self, outputs):
        first = negative_cosine(outputs["predictions_1"], outputs["projections_2"])
        second = negative_cosine(outputs["predictions_2"], outputs["projections_1"])
        return (first + second) / 2
