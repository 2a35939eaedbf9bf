"""lr_find(): the loss over a rising learning rate, and the task put back as it was."""

import contextlib
import math
import random

import keras
import numpy as np
from keras.src.backend.common import global_state

from tftransfer import data as data_module
from tftransfer import placement
from tftransfer.data.dataset_batches import is_dataset
from tftransfer.finetuning import features
from tftransfer.finetuning.caching import Caching
from tftransfer.finetuning.case import input_shape_of
from tftransfer.finetuning.checks import check_data, check_task, is_one_hot
from tftransfer.finetuning.compilation import scope_of
from tftransfer.finetuning.freezing import Flags, apply_stage
from tftransfer.finetuning.rate_curve import LearningRates
from tftransfer.finetuning.rates import make_optimizer
from tftransfer.policies import Policy, Stage
from tftransfer.tasks.task import Task

__all__ = ["LearningRates", "lr_find"]

_DIVERGED = 4.0  # times the lowest loss so far, above which the ramp ends


def lr_find(
    task, data, *, policy=None, between=(1e-7, 1.0), steps=100, batch_size=32, optimizer=None, seed=0
):
    """Trains over an exponentially rising learning rate, and suggests one from the loss; changes nothing.

    Step t of T uses `low × (high / low)^(t / (T − 1))`. The ramp ends early when the loss exceeds four times
    its lowest, or is no number. A copy of the optimizer is used; the weights, the random states, the
    `trainable` flags and the task's own compilation are afterwards bit for bit what they were. What the
    policy freezes at the beginning of the backbone runs once for each example, where it would run more often.

    Reference: Smith, "Cyclical Learning Rates for Training Neural Networks", 2015 (section 3.3),
    https://arxiv.org/abs/1506.01186

    Args:
        task: a `tasks.Task`, or any built `keras.Model` that is compiled with a loss.
        data: labelled examples, as for `finetune`.
        policy: a policy of one stage, whose multipliers hold during the ramp, such as `linear_probe()` (rates
            of the head) or `full()`; None takes the `trainable` flags as they stand.
        between: lowest and highest rate.
        steps: steps of the ramp, at least 10; batches are repeated where the data hold fewer.
        batch_size: examples a step; the rate that is found is good for this size.
        optimizer: the optimizer to try, of which a copy is used; None is Adam for a task, as in `finetune`,
            and the compiled one for another model.
        seed: of the order of the examples.

    Returns:
        `LearningRates`: print it, `.plot()` it, or use its `.suggestion`.

    Raises:
        ValueError: before any step, for data that do not fit, a range that is none, a policy of several
            stages or one that changes the model (`prepare`), or a model without a loss.

    Example:

    >>> import tftransfer as tt
    >>> x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    >>> task = tt.tasks.Classifier(tt.backbones.mlp((8,), units=(16,)), num_classes=2)
    >>> rates = lr_find(task, (x, (x[:, 0] > 0).astype(int)), steps=50, batch_size=16)
    >>> 1e-7 <= rates.suggestion <= rates.minimum <= 1.0
    True
    """
    low, high = _check_ramp(between, steps)
    stage = _stage_of(policy)
    data = data_module.read_texts(data, task)
    loss = _loss_of(task, data)
    shape = input_shape_of(task)
    batch_size = _at_most(batch_size, data, shape)
    scale = not data_module.rescales_pixels(task)
    record = _Record()
    with _unchanged(task, flags=stage is not None):
        multipliers = None if stage is None else apply_stage(stage, task).multipliers
        model = task
        found = _features(task, data, steps * batch_size, batch_size=batch_size, scale=scale)
        if found is not None:
            model, data = found
            shape, scale = data[0].shape[1:], True
        with scope_of(task):
            trial = _Trial(model)
            ramp = keras.optimizers.schedules.ExponentialDecay(low, steps - 1, high / low)
            trial_optimizer, _ = make_optimizer(
                ramp,
                schedule="constant",
                steps=steps,
                multipliers=multipliers,
                task=task,
                optimizer=optimizer if optimizer or hasattr(task, "default_loss") else task.optimizer,
            )
            trial_optimizer.gradient_accumulation_steps = None  # a step is a step
        trial.compile(trial_optimizer, loss, jit_compile=placement.jit_compile(task, steps=steps))
        batches = data_module.batches(
            data,
            batch_size=batch_size,
            shuffle=True,
            repeat=True,
            drop_remainder=True,  # the losses of single batches are read off their running mean
            seed=seed,
            scale=scale,
            input_shape=shape,
        )
        trial.fit(batches, steps_per_epoch=steps, shuffle=False, callbacks=[record], verbose=0)
    if not record.losses:
        raise ValueError(
            f"The loss is no finite number at the lowest rate, {low:g}, already: look at the data and the "
            "weights, for example by tftransfer.diagnose."
        )
    rates = low * (high / low) ** (np.arange(len(record.losses)) / (steps - 1))
    return LearningRates(rates, record.losses, complete=len(rates) == steps)


def _features(task, data, read, **options):
    """The model behind what is frozen, and the data for it; None where the ramp reads no example twice."""
    if not isinstance(task, Task) or is_dataset(data) or read <= len(data[1]):
        return None
    caching = Caching()
    before, behind, _ = features.frozen_half(task, data, len(data[1]), caching)
    if not before or caching.on_disk:
        return None
    embedder, model = features.helpers(task, None, before, behind)
    return model, caching.features(task, embedder, data, None, **options)[0].columns()


class _Trial(placement.PlacedModel):
    """A model around a model: what it compiles and traces leaves the inner one's compilation alone."""

    def __init__(self, model):
        super().__init__(name="trial", dtype=model.dtype_policy)
        self.inner = model
        self.built = True

    def call(self, inputs, training=None):
        return self.inner(inputs, training=training)


class _Record(keras.callbacks.Callback):
    """Keeps the loss of each batch; ends training when it has exploded."""

    def __init__(self):
        super().__init__()
        self.losses, self._sum = [], 0.0

    def on_train_batch_end(self, batch, logs=None):
        total = float(logs["loss"]) * (batch + 1)  # Keras logs the mean over the epoch
        loss, self._sum = total - self._sum, total
        if not math.isfinite(loss) or (self.losses and loss > _DIVERGED * max(min(self.losses), 1e-12)):
            self.model.stop_training = True
        if math.isfinite(loss):
            self.losses.append(loss)


@contextlib.contextmanager
def _unchanged(task, flags):
    """Puts variables, `trainable` flags and random states back at the end, whatever happened."""
    values = [(variable, np.array(keras.ops.convert_to_numpy(variable))) for variable in task.variables]
    generator = global_state.get_global_attribute("global_seed_generator")
    if generator is not None:
        values.append((generator.state, np.array(keras.ops.convert_to_numpy(generator.state))))
    states = random.getstate(), np.random.get_state()
    kept = Flags(task) if flags else None
    try:
        yield
    finally:
        if kept is not None:
            kept.restore()
        for variable, value in values:
            variable.assign(value)
        random.setstate(states[0])
        np.random.set_state(states[1])


def _check_ramp(between, steps):
    try:
        low, high = (float(rate) for rate in between)
    except (TypeError, ValueError):
        low = high = math.nan
    if not 0 < low < high < math.inf:
        raise ValueError(f"between holds the lowest and the highest rate, above 0; received {between!r}.")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 10:
        raise ValueError(f"steps is a whole number from 10 up; received {steps!r}.")
    return low, high


def _stage_of(policy):
    stages = (
        [policy] if isinstance(policy, Stage) else list(policy.stages) if isinstance(policy, Policy) else []
    )
    if policy is None:
        return None
    if len(stages) != 1 or stages[0].prepare is not None:
        raise ValueError(
            "lr_find takes a policy of one stage that does not change the model, such as linear_probe() or "
            f"full(); received {policy!r}. Look for the rate of each stage by itself."
        )
    return stages[0]


def _loss_of(task, data):
    if hasattr(task, "default_loss"):
        check_task(task)
        check_data(task, data)
        return task.default_loss(one_hot=is_one_hot(data))
    if not isinstance(task, keras.Model) or not task.built or not task.compiled or task.loss is None:
        raise ValueError(
            f"lr_find takes a task, or a built keras.Model that is compiled with a loss; received {task!r}."
        )
    return task.loss


def _at_most(batch_size, data, shape):
    """The batch size, lowered to the number of examples where there are fewer."""
    options = {"input_shape": shape, "drop_remainder": True}
    if data_module.steps_per_epoch(data, batch_size=batch_size, **options) != 0:
        return batch_size
    return data_module.steps_per_epoch(data, batch_size=1, **options)
