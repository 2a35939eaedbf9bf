"""MoCo v3: contrast against a moving average of oneself, the rest of the batch being the negatives."""

from keras import ops

from tftransfer import placement
from tftransfer.layers import Teacher, projector, register
from tftransfer.objectives.joint_embedding import JointEmbedding


def contrast(queries, keys, *, temperature):
    """Cross entropy of finding each query's own key among the keys of the global batch.

    `-2τ · mean_i log( exp(cos(q_i, k_i) / τ) / Σ_j exp(cos(q_i, k_j) / τ) )`. Under replicas the queries are this
    replica's and the keys everyone's.

    Args:
        queries: `(batch, dim)`.
        keys: `(batch, dim)` in the same order; no gradient reaches them.
        temperature: τ > 0.

    Returns:
        Float32 scalar, the mean over this replica's queries.

    Example:

    >>> loss = contrast(ops.eye(4), ops.eye(4), temperature=1.0)
    >>> bool(abs(float(loss) - 2 * (-1 + ops.log(ops.exp(1.0) + 3))) < 1e-6)
    True
    """
    q = ops.normalize(ops.cast(queries, "float32"), axis=-1)
    k = ops.normalize(ops.cast(ops.stop_gradient(keys), "float32"), axis=-1)
    before, _ = placement.rows_before_and_total(ops.shape(q)[0])
    logits = ops.matmul(q, ops.transpose(placement.all_gather(k))) / temperature  # (local, total)
    own = ops.arange(ops.shape(q)[0]) + before  # this replica's places in the global batch
    loss = ops.mean(ops.sparse_categorical_crossentropy(own, logits, from_logits=True))
    return 2 * temperature * loss


@register
class MoCo(JointEmbedding):
    """Momentum contrast, version 3: SimCLR's comparison with keys from a teacher, without a queue.

    The contrastive objective for vision transformers, and steadier than SimCLR at moderate batches (256 and more). The
    teacher is updated inside the step (`layers.Teacher`) and is no part of `objective.backbone`.

    `loss = contrast(q₁, k₂) + contrast(q₂, k₁)`

    Reference: Chen, Xie & He, An Empirical Study of Training Self-Supervised Vision Transformers, 2021,
    https://arxiv.org/abs/2104.02057
    Differs from it in: the patch embedding of a vision transformer is trained (the paper freezes it for stability);
    augmentation without hue, blur and solarisation (see `layers.RandomView`).

    Small data, one GPU: the paper saw a batch of 1,024 lose about a point against 2,048 (ViT-B, 100 epochs).

    Args:
        backbone: any built `keras.Model`; its features are averaged over places.
        augmentation: a Keras layer that gives one random view of a batch; by default `layers.RandomView()`.
        hidden_width: hidden size of projector and predictor; by default twice the embedding's, the paper's ratio
            (4096 behind a ResNet-50), and at least 64.
        projection_width: size of the projections.
        temperature: τ of the loss; the paper's 0.2 for transformers, 1.0 for ResNets.
        momentum: share that the teacher keeps of itself in a step; rises to 1 as a cosine over the planned steps.

    Input: a batch of examples, or `{"view_1": …, "view_2": …}` made beforehand.
    Output: `{"queries_1", "queries_2", "keys_1", "keys_2"}`, each `(batch, projection_width)`.

    Raises:
        ValueError: for a temperature that is not positive, a momentum outside [0, 1], or a batch of one example.

    Example:

    >>> import keras
    >>> from tftransfer import backbones
    >>> objective = MoCo(backbones.cnn((8, 8, 1), filters=(8, 16)))
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
        temperature=0.2,
        momentum=0.99,
        **kwargs,
    ):
        if not temperature > 0:
            raise ValueError(f"temperature must be positive; received {temperature}.")
        super().__init__(backbone, augmentation=augmentation, **kwargs)
        self.hidden_width = hidden_width
        self.projection_width = projection_width
        self.temperature = temperature
        self.momentum = momentum
        embedding = self.embedding_width
        hidden = hidden_width or max(2 * embedding, 64)
        widths = (hidden, hidden, projection_width)
        self.projector = projector(embedding, widths=widths, normalize_last=True)
        self.predictor = projector(projection_width, widths=widths[1:], normalize_last=True, name="predictor")
        self.teacher = Teacher(backbone, self.pool, self.projector, momentum=momentum)

    def call(self, inputs, training=None):
        outputs = {}
        for i, view in enumerate(self.views(inputs), start=1):
            projections = self.project(view, training)  # (batch, projection_width)
            outputs[f"queries_{i}"] = self.predictor(projections, training=training)
            outputs[f"keys_{i}"] = self.teacher(view, follow=bool(training) and i == 1, training=training)
        return outputs

    def compute_objective(self, outputs):
        first = contrast(outputs["queries_1"], outputs["keys_2"], temperature=self.temperature)
        return first + contrast(outputs["queries_2"], outputs["keys_1"], temperature=self.temperature)
