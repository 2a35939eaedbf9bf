"""How hard the labelled data pull at each variable."""

import math

import keras
from keras import ops

from tftransfer.finetuning.compilation import scope_of
from tftransfer.finetuning.freezing import apply_stage, variable_paths
from tftransfer.policies import Stage

__all__ = ["gradient_norms"]

_BATCHES = 32


class _Record(keras.optimizers.Optimizer):
    """An optimizer that moves nothing and adds up the squares of the gradients: right on every backend."""

    def __init__(self):
        super().__init__(learning_rate=1.0, name="record")

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.sums = [self.add_variable((), dtype="float32", name=f"sum_{i}") for i in range(len(variables))]

    def update_step(self, gradient, variable, learning_rate):
        total = ops.sum(ops.square(ops.cast(ops.convert_to_tensor(gradient), "float32")))
        self.assign_add(self.sums[self._get_variable_index(variable)], total)


def gradient_norms(task, batches, steps, *, loss):
    """The norm of the loss's gradient on the labelled data, for each variable that may be trained.

    The square root of the mean of its squares over (at most 32) batches. Weights and the statistics of
    BatchNormalization do not move; the task's compiled state and its `trainable` flags do not survive.

    Args:
        task: a task.
        batches: batches of labelled data, without end.
        steps: batches in an epoch.
        loss: the Keras loss.

    Returns:
        `{path: norm}`.
    """
    apply_stage(Stage("measure", {".*": 1.0}, 1, batch_norm="frozen"), task)
    with scope_of(task):
        record = _Record()
        task.compile(record, loss)
        record.build(task.trainable_variables)
    steps = min(steps, _BATCHES)
    task.fit(batches, steps_per_epoch=steps, epochs=1, shuffle=False, verbose=0)
    path_of = {id(variable): path for path, variable in variable_paths(task).items()}
    sums = [float(ops.convert_to_numpy(value)) for value in record.sums]
    return {
        path_of[id(variable)]: math.sqrt(value / steps)
        for variable, value in zip(task.trainable_variables, sums, strict=True)
    }
