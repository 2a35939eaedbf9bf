"""A teacher whose weights are a moving average of the student's, updated inside the training step."""

import keras
from keras import ops

from tftransfer.layers.schedule import StepCount, cosine

__all__ = ["Teacher"]


class Teacher(keras.layers.Layer):
    """Copies of a chain of models that follow the originals as an exponential moving average.

    `ξ ← m · ξ + (1 - m) · θ` with `m = 1 - (1 - m₀) · (1 + cos(π · k / K)) / 2`, where `k` of `K` planned
    steps are done (`m = m₀` while no plan is known). The average is taken at the start of a step, of the weights
    that the step before left: the teacher of every step is the published one, and nothing depends on
    callbacks, on the backend or on `steps_per_execution`. The copies are no part of the student: neither its
    weights file nor its optimizer sees them. Statistics of batch normalisation are not averaged: the teacher
    normalises its own batch.

    Reference: Tarvainen & Valpola, Mean teachers are better role models, 2017, https://arxiv.org/abs/1703.01780, and
    the schedule of Grill et al., Bootstrap Your Own Latent, 2020, https://arxiv.org/abs/2006.07733

    Args:
        students: built models or layers, applied one after another.
        momentum: m₀ in [0, 1].

    Input: what the first student reads. Output: what the last one gives, without gradient.

    Raises:
        ValueError: for a momentum outside [0, 1].

    Example:

    >>> student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> teacher = Teacher(student, momentum=0.99)
    >>> x = keras.ops.ones((3, 4))
    >>> bool(keras.ops.all(teacher(x) == student(x)))
    True
    """

    def __init__(self, *students, momentum):
        if not 0 <= momentum <= 1:
            raise ValueError(
                f"momentum, the share that a teacher keeps of itself in each step, lies in [0, 1]; received {momentum}."
            )
        super().__init__(name="teacher", autocast=False)
        self.momentum = momentum
        self.count = StepCount()
        self.stages = [_copy(student) for student in students]
        object.__setattr__(self, "_pairs", [])  # untracked: the student is not a part of its teacher
        for stage, student in zip(self.stages, students, strict=True):
            for mine, original in zip(stage.weights, student.weights, strict=True):
                if mine.trainable:
                    mine.trainable = (
                        False  # the variable, not its layer: batch normalisation stays in training
                    )
                    self._pairs.append((mine, original))
        self.built = True

    @property
    def trainable(self):
        return True

    @trainable.setter
    def trainable(self, value):
        """Nothing: a teacher never learns by gradient, whatever is said to the model around it."""

    def call(self, inputs, follow=False, training=None):
        """The targets; `follow` takes the average first, which a training step asks for once."""
        if follow:
            momentum = cosine(self.momentum, 1.0, self.count.share())
            for mine, original in self._pairs:
                moved = momentum * ops.cast(mine, "float32") + (1 - momentum) * ops.cast(original, "float32")
                mine.assign(ops.cast(moved, mine.dtype))
            self.count.advance()
        for stage in self.stages:
            inputs = stage(inputs, training=training)
        return ops.stop_gradient(inputs)


def _copy(student):
    if isinstance(student, keras.Model) and hasattr(student, "operations"):  # Sequential or functional
        copy = keras.models.clone_model(student)
    else:
        copy = type(student).from_config(student.get_config())
    if student.weights and not copy.built:
        raise ValueError(
            f"A teacher copies Sequential and functional models; {student.name!r} is a {type(student).__name__} "
            f"whose weights appear only when it is called. Wrap it: keras.Model(inputs, {student.name}(inputs))."
        )
    copy.set_weights(student.get_weights())
    return copy
