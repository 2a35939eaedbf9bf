"""DINO: many crops of a picture must answer as a sharpened, centred teacher answers to two large ones."""

import keras
from keras import ops

from tftransfer import placement
from tftransfer.layers import Configured, Teacher, default_view, projector, register
from tftransfer.objectives.joint_embedding import JointEmbedding

STUDENT_TEMPERATURE, CENTRE_MOMENTUM, WARM_UP = 0.1, 0.9, 0.3  # the paper's; warm-up: 30 of 100 epochs


def distillation(student_logits, teacher_logits, centre, *, student_temperature, teacher_temperature):
    """Cross entropy between teacher and student over all pairs of different views.

    `-mean_{t, v ≠ t} mean_i Σ_k P_t[i, k] · log P_v[i, k]` with `P_t = softmax((teacher - centre) / τ_t)` and
    `P_v = softmax(student / τ_s)`. The first views of the student are those of the teacher.

    Args:
        student_logits: `(views, batch, prototypes)`.
        teacher_logits: `(teacher views, batch, prototypes)`; no gradient reaches them.
        centre: `(prototypes,)`.
        student_temperature, teacher_temperature: τ_s and τ_t, the teacher's lower.

    Returns:
        Float32 scalar.

    Example:

    >>> z = ops.zeros((2, 3, 8))  # nobody has an opinion: log 8
    >>> loss = distillation(z, z, ops.zeros(8), student_temperature=0.1, teacher_temperature=0.04)
    >>> round(float(loss), 4)
    2.0794
    """
    teacher = (ops.cast(teacher_logits, "float32") - centre) / teacher_temperature
    targets = ops.stop_gradient(ops.softmax(teacher, axis=-1))  # (t, b, k)
    answers = ops.log_softmax(ops.cast(student_logits, "float32") / student_temperature, axis=-1)  # (v, b, k)
    agreement = ops.einsum("tbk,vbk->tv", targets, answers)  # summed over the batch
    others = 1 - ops.eye(targets.shape[0], answers.shape[0], dtype="float32")
    pairs = targets.shape[0] * (answers.shape[0] - 1)
    return -ops.sum(agreement * others) / (pairs * ops.cast(ops.shape(targets)[1], "float32"))


@register
class Prototypes(Configured, keras.layers.Layer):
    """Cosines between projections and learned directions: `(batch, width)` to `(batch, count)`."""

    def __init__(self, width, count, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.count = count
        self.directions = self.add_weight(
            shape=(width, count), initializer="glorot_normal", name="directions"
        )
        self.built = True

    def call(self, projections):
        directions = ops.normalize(ops.cast(self.directions, "float32"), axis=0)
        return ops.matmul(ops.normalize(ops.cast(projections, "float32"), axis=-1), directions)


@register
class DINO(JointEmbedding):
    """Self-distillation with no labels: a student of many crops follows a teacher of two, its moving average.

    Strong features for nearest neighbours, with transformers above all. Centring and sharpening keep the teacher
    from saying the same of every picture; a loss that stays at `log(prototypes)` means that they do not, and a
    lower teacher temperature helps. The teacher is updated inside the step and is no part of `objective.backbone`.

    Reference: Caron et al., Emerging Properties in Self-Supervised Vision Transformers, 2021,
    https://arxiv.org/abs/2104.14294
    Differs from it in: local crops are enlarged to the size that the backbone reads; 4096 prototypes (65536 for
    ImageNet; 0.4 points apart in its table 15); a head with batch normalisation; augmentation without hue,
    blur and solarisation (see `layers.RandomView`).

    Small data, short runs: `momentum=0.9`, `prototypes=64`, `local_views=2`, with which the tests see the loss
    fall within 80 steps; the defaults are made for many thousand.

    Args:
        backbone: any built `keras.Model`; its features are averaged over places.
        augmentation: layer that gives a global view; by default `RandomView(crop_scale=(0.4, 1.0))`.
        local_augmentation: layer that gives a local view; by default `RandomView(crop_scale=(0.05, 0.4))`.
        local_views: number of local views; 0 for none, 2 to 4 for small pictures or a small budget.
        prototypes: size of the answer.
        teacher_temperature: τ_t at the start and after the first 30% of the planned steps.
        momentum: share that the teacher keeps of itself in a step; rises to 1 as a cosine over the planned steps.
            In runs of a few hundred or thousand steps 0.9 to 0.99 learns where the paper's 0.996 still stands at
            `log(prototypes)`; take fewer prototypes with it (64 to 256).

    Input: a batch of examples, or `{"view_1": …, "view_2": …}` made beforehand and, where there are local views,
    `"local_views"` `(batch, views, …)`.
    Output: `{"student": (views, batch, prototypes), "teacher": (2, batch, prototypes), "centre": (prototypes,),
    "teacher_temperature": scalar}`.

    Raises:
        ValueError: for a negative number of views, fewer than two prototypes, temperatures that are not
            two numbers in (0, 0.1], a momentum outside [0, 1], or a batch of one example.

    Example:

    >>> from tftransfer import backbones
    >>> objective = DINO(backbones.cnn((8, 8, 1), filters=(8, 16)), local_views=2, prototypes=32)
    >>> objective.compile("adam")
    >>> history = objective.fit(keras.random.uniform((32, 8, 8, 1)), batch_size=16, verbose=0)
    """

    default_view_settings = {"crop_scale": (0.4, 1.0)}
    default_weight_decay = (0.04, 0.4)  # the paper's schedule

    def __init__(
        self,
        backbone,
        *,
        augmentation=None,
        local_augmentation=None,
        local_views=8,
        prototypes=4096,
        teacher_temperature=(0.04, 0.07),
        momentum=0.996,
        **kwargs,
    ):
        temperatures = tuple(teacher_temperature) if isinstance(teacher_temperature, (tuple, list)) else ()
        if len(temperatures) != 2 or not all(0 < t <= STUDENT_TEMPERATURE for t in temperatures):
            raise ValueError(
                f"teacher_temperature is (start, end), both in (0, {STUDENT_TEMPERATURE}], the student's, so that the "
                f"teacher is the sharper one; received {teacher_temperature!r}."
            )
        if local_views < 0 or prototypes < 2:
            raise ValueError(
                f"DINO takes local_views from 0 and prototypes from 2 up; received {local_views} and {prototypes}."
            )
        super().__init__(backbone, augmentation=augmentation, **kwargs)
        self.local_augmentation = local_augmentation or default_view(backbone, crop_scale=(0.05, 0.4), seed=1)
        self.local_views = local_views
        self.prototypes = prototypes
        self.teacher_temperature = temperatures
        self.momentum = momentum
        embedding = self.embedding_width
        hidden = max(2 * embedding, 64)
        self.projector = projector(embedding, widths=(hidden, hidden, 256))
        self.directions = Prototypes(256, prototypes, name="prototypes")
        self.teacher = Teacher(backbone, self.pool, self.projector, self.directions, momentum=momentum)
        self.centre = self.add_weight(
            shape=(prototypes,), initializer="zeros", trainable=False, autocast=False, name="centre"
        )

    def call(self, inputs, training=None):
        views = self.views(inputs)
        large = ops.concatenate(views, axis=0)  # (2 · batch, …)
        student = [self._answer(large, 2, training)]
        small = self._local(inputs)
        if small is not None:
            student.append(self._answer(ops.concatenate(small, axis=0), len(small), training))
        start, end = self.teacher_temperature
        warmth = ops.minimum(self.teacher.count.share() / WARM_UP, 1.0)
        teacher = self.teacher(large, follow=bool(training), training=training)
        teacher = ops.reshape(teacher, (2, -1, self.prototypes))  # (2, batch, prototypes)
        outputs = {
            "student": ops.concatenate(student, axis=0),
            "teacher": teacher,
            "centre": ops.copy(self.centre),
            "teacher_temperature": start + (end - start) * warmth,
        }
        if training:
            mean = ops.mean(placement.all_gather(ops.mean(teacher, axis=0)), axis=0)  # of the global batch
            self.centre.assign(CENTRE_MOMENTUM * outputs["centre"] + (1 - CENTRE_MOMENTUM) * mean)
        return outputs

    def _local(self, inputs):
        if isinstance(inputs, dict):
            given = inputs.get("local_views")
            return None if given is None else ops.unstack(given, axis=1)
        if not self.local_views:
            return None
        return [self.local_augmentation(inputs, training=True) for _ in range(self.local_views)]

    def _answer(self, views, count, training):
        projections = self.project(views, training)
        return ops.reshape(self.directions(projections), (count, -1, self.prototypes))

    def compute_objective(self, outputs):
        return distillation(
            outputs["student"],
            outputs["teacher"],
            outputs["centre"],
            student_temperature=STUDENT_TEMPERATURE,
            teacher_temperature=outputs["teacher_temperature"],
        )
