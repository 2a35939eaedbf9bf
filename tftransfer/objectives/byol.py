"""BYOL: the student predicts what a slowly moving average of itself sees in the other view."""

from keras import ops

from tftransfer.layers import Teacher, projector, register
from tftransfer.objectives.joint_embedding import JointEmbedding


def prediction_error(predictions, targets):
    """`mean(‖p / ‖p‖ - t / ‖t‖‖²) = mean(2 - 2 · cos(p, t))`, a float32 scalar in [0, 4].

    Args:
        predictions: `(batch, dim)`.
        targets: `(batch, dim)`; no gradient reaches them.

    Example:

    >>> float(prediction_error(ops.eye(2), ops.flip(ops.eye(2), axis=0)))  # at right angles
    2.0
    """
    p = ops.normalize(ops.cast(predictions, "float32"), axis=-1)
    t = ops.normalize(ops.cast(ops.stop_gradient(targets), "float32"), axis=-1)
    return ops.mean(2 - 2 * ops.sum(p * t, axis=-1))


@register
class BYOL(JointEmbedding):
    """Bootstrap your own latent: a teacher that is the student's moving average sets the targets, no negatives.

    Strong with moderate batches and long training. The teacher is updated inside the step (`layers.Teacher`) and is
    no part of `objective.backbone`; what is kept is the student.

    `loss = ℓ(q(z₁), z'₂) + ℓ(q(z₂), z'₁)` with `ℓ` of `prediction_error` and `z'` the teacher's projections.

    Reference: Grill et al., Bootstrap Your Own Latent, 2020, https://arxiv.org/abs/2006.07733
    Differs from it in: augmentation without hue, blur and solarisation (see `layers.RandomView`).

    Small data, one GPU: batches of 256 lose little against 4,096 (the paper's figure 3); `momentum=0.99` for runs
    of up to 300 epochs (its appendix), 0.97 for one or two thousand steps, in which a slower teacher stays near its
    random start.

    Args:
        backbone: any built `keras.Model`; its features are averaged over places.
        augmentation: a Keras layer that gives one random view of a batch; by default `layers.RandomView()`.
        hidden_width: hidden size of projector and predictor; by default twice the embedding's, the paper's ratio
            (4096 behind a ResNet-50), and at least 64.
        projection_width: size of the projections.
        momentum: share that the teacher keeps of itself in a step; rises to 1 as a cosine over the planned steps.
            For runs of a few thousand steps 0.99 is better than the paper's 0.996.

    Input: a batch of examples, or `{"view_1": …, "view_2": …}` made beforehand.
    Output: `{"predictions_1", "predictions_2", "targets_1", "targets_2"}`, each `(batch, projection_width)`.

    Raises:
        ValueError: for a momentum outside [0, 1], or a batch of one example.

    Example:

    >>> import keras
    >>> from tftransfer import backbones
    >>> objective = BYOL(backbones.cnn((8, 8, 1), filters=(8, 16)))
    >>> objective.compile("adam")
    >>> history = objective.fit(keras.random.uniform((32, 8, 8, 1)), batch_size=16, verbose=0)
    """

    def __init__(
        self,
        backbone,
        *,
        augmentation=None,
        hidden_width=None,
        projection_width=256,
        momentum=0.996,
        **kwargs,
    ):
        super().__init__(backbone, augmentation=augmentation, **kwargs)
        self.hidden_width = hidden_width
        self.projection_width = projection_width
        self.momentum = momentum
        embedding = self.embedding_width
        widths = (hidden_width or max(2 * embedding, 64), projection_width)
        self.projector = projector(embedding, widths=widths)
        self.predictor = projector(projection_width, widths=widths, name="predictor")
        self.teacher = Teacher(backbone, self.pool, self.projector, momentum=momentum)

    def call(self, inputs, training=None):
        outputs = {}
        for i, view in enumerate(self.views(inputs), start=1):
            projections = self.project(view, training)  # (batch, projection_width)
            outputs[f"predictions_{i}"] = self.predictor(projections, training=training)
            outputs[f"targets_{i}"] = self.teacher(view, follow=bool(training) and i == 1, training=training)
        return outputs

    def compute_objective(self, outputs):
        first = prediction_error(outputs["predictions_1"], outputs["targets_2"])
        return first + prediction_error(outputs["predictions_2"], outputs["targets_1"])
