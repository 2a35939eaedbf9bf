"""Does the model wait for its data? Both are timed alone and together."""

import dataclasses
import itertools
import time

import keras

__all__ = ["InputReport", "input_bottleneck"]

WARM_UP = 2  # steps that compile, and fill what reads ahead


@dataclasses.dataclass(frozen=True)
class InputReport:
    """What `input_bottleneck` measured; `print` says it in words.

    Attributes:
        data_s: seconds a batch, reading and doing nothing else.
        model_s: seconds a step, training on one batch that is there already.
        together_s: seconds a step, training on the data.
        limits: "data" or "model", whichever is slower alone.
    """

    data_s: float
    model_s: float
    together_s: float

    @property
    def limits(self):
        return "data" if self.data_s > self.model_s else "model"

    @property
    def waiting(self):
        """Share of a step in which the model waits for its batch: no more than reading takes."""
        return min(self.data_s, max(0.0, self.together_s - self.model_s)) / self.together_s

    def __str__(self):
        advice = "Faster reading would gain little."
        if self.limits == "data":
            advice = (
                "Read ahead (prefetch), read with several threads (num_parallel_calls), cache what is costly to "
                "decode, or leave augmentation to the model."
            )
        elif self.waiting > 0.1:
            advice = "Reading ahead (prefetch) would hide the wait."
        return (
            f"The {self.limits} limits: a batch takes {self.data_s * 1e3:.1f} ms to read, a step "
            f"{self.model_s * 1e3:.1f} ms to compute and {self.together_s * 1e3:.1f} ms in all, {self.waiting:.0%} of "
            f"it waiting for data. {advice}"
        )


def input_bottleneck(model, batches, *, steps=20, verbose=True):
    """Measures the time of a training step against the time of reading its batch, and says which one limits.

    Trains for a little over `2 · steps` steps, and puts everything that moved (weights, moving statistics, optimizer,
    random states) back afterwards. Reading on the same processor that computes makes both slower: then the time of both
    together is more than that of the slower one.

    Args:
        model: a compiled `keras.Model` (an objective, a task).
        batches: what `fit` would take for `x`, and give more than one batch: a `tf.data.Dataset` of batches, such as
            `data.batches(...)` makes, or a `keras.utils.PyDataset`.
        steps: steps to measure; fewer where the data ends before.
        verbose: whether to print the result.

    Returns:
        An `InputReport`.

    Raises:
        ValueError: for a model that is not compiled, arrays instead of batches, or fewer than two batches.

    Example:
        >>> import numpy as np, tftransfer as tt
        >>> objective = tt.objectives.Autoencoder(tt.backbones.mlp((8,), units=(4,)))
        >>> objective.compile("adam")
        >>> batches = tt.data.batches(np.random.rand(64, 8), batch_size=16, repeat=True)
        >>> report = tt.placement.input_bottleneck(objective, batches, steps=4, verbose=False)
        >>> report.limits in ("data", "model")
        True
    """
    if not getattr(model, "compiled", False) or model.optimizer is None:
        raise ValueError(f"{model.name!r} has no optimizer yet: compile it as it will be trained.")
    if (
        isinstance(batches, (dict, list, tuple))
        or hasattr(batches, "dtype")
        or not hasattr(batches, "__iter__")
    ):
        raise ValueError(
            f"input_bottleneck takes batches as fit would read them. Received: {type(batches).__name__}. Make them "
            "with tftransfer.data.batches(x, batch_size=...)."
        )
    first, count, data_s = _read(batches, steps)
    same = _Same(first, steps + WARM_UP)
    with _restored(model, same):
        _fit(model, same, WARM_UP)
        model_s = _fit(model, same, steps)
        _fit(
            model, batches, min(count, WARM_UP)
        )  # batches of another form (of no fixed size, say) compile anew
        together_s = _fit(model, batches, count)
    report = InputReport(data_s, model_s, together_s)
    if verbose:
        print(report)
    return report


def _read(batches, steps):
    """The first batch, how many of `steps` there are, and the seconds that reading one takes."""
    iterator = iter(batches)
    try:
        first = next(iterator)
        next(iterator)
    except StopIteration as error:
        raise ValueError(
            "Fewer than two batches: there is nothing to be measured. Repeat the data."
        ) from error
    begun = time.perf_counter()
    count = sum(1 for _ in itertools.islice(iterator, steps))
    if not count:  # two batches in all: the second one is what can be timed
        iterator = iter(batches)
        next(iterator)
        begun = time.perf_counter()
        next(iterator)
        return first, 1, time.perf_counter() - begun
    return first, count, (time.perf_counter() - begun) / count


class _Same(keras.utils.PyDataset):
    """One batch, again and again, of which nothing has to be read."""

    def __init__(self, batch, count):
        super().__init__()
        self.batch, self.count = batch, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return self.batch if isinstance(self.batch, (tuple, dict)) else (self.batch,)

    def as_fit_takes_it(self):
        if keras.backend.backend() != "tensorflow":
            return self
        import tensorflow as tf

        return tf.data.Dataset.from_tensors(self.batch).repeat()


class _Clock(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.begun = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds = time.perf_counter() - self.begun


def _fit(model, batches, steps):
    """Seconds of a step."""
    clock = _Clock()
    data = batches.as_fit_takes_it() if isinstance(batches, _Same) else batches
    model.fit(data, epochs=1, steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=[clock])
    return clock.seconds / steps


class _restored:
    """Puts back, on leaving, everything that training moves."""

    def __init__(self, model, batches):
        self.model, self.batches = model, batches

    def __enter__(self):
        model = self.model
        if not model.built:
            x, _, _ = keras.utils.unpack_x_y_sample_weight(self.batches.batch)
            model(x)
        scope = getattr(model, "scope", None)
        if not model.optimizer.built:
            if scope is None:
                model.optimizer.build(model.trainable_variables)
            else:
                with scope():
                    model.optimizer.build(model.trainable_variables)
        self.variables = [*model.variables, *model.optimizer.variables]
        self.values = [keras.ops.convert_to_numpy(v).copy() for v in self.variables]
        self.history = vars(model).get("history")

    def __exit__(self, *_):
        for variable, value in zip(self.variables, self.values, strict=True):
            variable.assign(value)
        self.model.reset_metrics()
        self.model.history = self.history
