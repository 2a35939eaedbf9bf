"""Averages of the weights while fine-tuning: exponential (EMA) and stochastic weight averaging (SWA)."""

import keras
import numpy as np

from tftransfer.finetuning.batch_statistics import live_batch_norm, refresh_batch_norm

__all__ = ["ExponentialAverage", "StochasticAverage", "averages_in"]


class _Average(keras.callbacks.Callback):
    """Puts averaged weights in for validation and from each epoch's end on; training goes on from its own.

    The validation figures of an epoch, the checkpoint that a callback after this one writes, the best epoch
    of `finetune` and the weights at the end are all of the average.
    """

    def __init__(self, data=None, *, batch_size=128):
        super().__init__()
        self.data, self.batch_size = data, batch_size
        self.fallback = None  # data that `finetune` gives where the user gave none
        self._own = None  # training's own values while the average is in the model
        self._ready = None  # the average since the last step, with its statistics
        self._training = False

    def _averages(self):
        """`[(variable, value)]`, or None before there are any."""
        raise NotImplementedError("An average says what the averaged values are.")

    def on_train_begin(self, logs=None):
        self._own = self._ready = None
        self._training = True
        if self._examples is None and live_batch_norm(self.model):
            raise ValueError(
                f"{type(self).__name__} needs data=, the training examples, for this model: it has live "
                "BatchNormalization layers, whose statistics must be those of the averaged weights."
            )

    def on_epoch_begin(self, epoch, logs=None):
        self._take_out()
        self._ready = None

    def on_test_begin(self, logs=None):
        if self._training:
            self._put_in()

    def on_test_end(self, logs=None):
        if self._training:
            self._take_out()

    def on_epoch_end(self, epoch, logs=None):
        self._put_in()

    def on_train_end(self, logs=None):
        self._training = False  # the average stays in

    @property
    def own(self):
        """`[(variable, value)]`: training's own values, while the average is in their place."""
        return list(self._own or ()) if self._training else []

    def put_in(self, model):
        """Puts the average of training that has ended into a model; nothing where no file keeps its state."""

    def take_out(self):
        """Puts training's own values back, for training that goes on after its end."""
        self._take_out()

    @property
    def _examples(self):
        return self.fallback if self.data is None else self.data

    def _put_in(self):
        if self._own is not None:
            return
        layers = live_batch_norm(self.model)
        statistics = [variable for x in layers for variable in (x.moving_mean, x.moving_variance)]
        averages = self._ready or self._averages()
        if averages is None:
            return
        self._own = [(v, _value(v)) for v in [*(v for v, _ in averages), *statistics]]
        for variable, value in averages:
            variable.assign(value)
        if self._ready is None:
            if layers:
                refresh_batch_norm(self.model, self._examples, batch_size=self.batch_size)
            self._ready = [*averages, *((variable, _value(variable)) for variable in statistics)]

    def _take_out(self):
        for variable, value in self._own or ():
            variable.assign(value)
        self._own = None


class StochasticAverage(_Average):
    """Stochastic weight averaging (SWA): the mean of the weights at the ends of epochs.

    `w̄ ← (n w̄ + w) / (n + 1)` after each epoch from `start` on. The mean lies in the middle of the region
    that training wanders through, which is flatter, and generalizes better, than its edge; so use it with a
    rate that stays high (a `Stage` with `schedule="constant"`): under a cosine to zero, the weights hardly
    differ. Each stage of `finetune` is averaged by itself. Live BatchNormalization gets the statistics of the
    mean (`refresh_batch_norm`), at the price of a forward pass over `data` an epoch.

    Reference: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018,
    https://arxiv.org/abs/1803.05407

    Args:
        data: the training examples, for BatchNormalization; not needed where none is live, nor in `finetune`,
            which gives its own.
        start: share of the epochs of a stage that pass before averaging begins, in [0, 1).
        batch_size: examples at a time when the statistics are taken.

    Raises:
        ValueError: for `start` out of range; when training begins, without the data that are needed.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> x, y = np.ones((8, 2), "float32"), np.ones((8, 1), "float32")
    >>> history = model.fit(x, y, epochs=4, callbacks=[StochasticAverage(start=0.5)], verbose=0)
    """

    def __init__(self, data=None, *, start=0.75, batch_size=128):
        super().__init__(data, batch_size=batch_size)
        if isinstance(start, bool) or not isinstance(start, (int, float)) or not 0 <= start < 1:
            raise ValueError(f"start is a share of a stage's epochs in [0, 1); received {start!r}.")
        self.start = start

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self._means, self._count, self._first, self._epoch = None, 0, None, 0

    def on_epoch_begin(self, epoch, logs=None):
        super().on_epoch_begin(epoch, logs)
        self._first = epoch if self._first is None else self._first
        self._epoch = epoch

    def _averages(self):
        total = self.params["epochs"] - self._first
        if self._epoch < self._first + int(self.start * total):
            return None
        values = [_value(variable) for variable in self.model.trainable_variables]
        if self._means is None:
            self._means = values
        else:
            share = 1 / (self._count + 1)
            self._means = [
                (m + (v - m.astype("float32")) * share).astype(v.dtype)
                for m, v in zip(self._means, values, strict=True)
            ]
        self._count += 1
        return list(zip(self.model.trainable_variables, self._means, strict=True))


class ExponentialAverage(_Average):
    """The exponential moving average (EMA) that an optimizer with `use_ema=True` keeps, put to use.

    Keras updates `w̄ ← m w̄ + (1 − m) w` in each step (`ema_momentum`), writes it over the weights when `fit`
    ends, and validates without it; its `SwapEMAWeights` validates with it, but swaps zeros into the model
    when it sees a second optimizer, as in the second stage of `finetune`, and keeps the wrong one of the two
    when a run stops early. This callback does neither, and gives live BatchNormalization the statistics of
    the average. `finetune` adds it by itself where the optimizer has `use_ema`.

    Reference: Polyak & Juditsky, "Acceleration of stochastic approximation by averaging", 1992,
    https://doi.org/10.1137/0330046

    Args:
        data: the training examples, for BatchNormalization; not needed where none is live, nor in `finetune`,
            which gives its own.
        batch_size: examples at a time when the statistics are taken.

    Raises:
        ValueError: when training begins, for an optimizer without `use_ema`, or without the data that are
            needed.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9), "mse")
    >>> x, y = np.ones((8, 2), "float32"), np.ones((8, 1), "float32")
    >>> history = model.fit(x, y, epochs=2, callbacks=[ExponentialAverage()], verbose=0)
    """

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        if not getattr(self._optimizer, "use_ema", False):
            raise ValueError(
                f"ExponentialAverage needs an optimizer with use_ema=True; received {type(self._optimizer).__name__} "
                "without. For example keras.optimizers.AdamW(1e-4, use_ema=True, ema_momentum=0.999)."
            )

    def put_in(self, model):
        """Puts the average that the model's optimizer holds into it."""
        self.set_model(model)
        self._own = self._ready = None
        self._put_in()

    @property
    def _optimizer(self):
        optimizer = self.model.optimizer
        return getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer

    def _averages(self):
        if not int(keras.ops.convert_to_numpy(self._optimizer.iterations)):
            return None
        kept = self._optimizer._trainable_variables, self._optimizer._model_variables_moving_average
        return [(variable, _value(mean)) for variable, mean in zip(*kept, strict=True) if mean is not None]


def averages_in(callbacks, optimizer, data):
    """The callbacks of a `finetune` call, and the averages among them.

    An optimizer with `use_ema` gets an `ExponentialAverage` before all others, so that they see the average.

    Args:
        callbacks: the user's.
        optimizer: the user's, or None.
        data: the training examples, for averages that were given none.

    Returns:
        `(callbacks, averages)`, two lists.
    """
    callbacks = list(callbacks)
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
    if getattr(inner, "use_ema", False) and not any(isinstance(c, ExponentialAverage) for c in callbacks):
        callbacks.insert(0, ExponentialAverage())
    averages = [callback for callback in callbacks if isinstance(callback, _Average)]
    for average in averages:
        average.fallback = data
    return callbacks, averages


def _value(variable):
    return np.array(keras.ops.convert_to_numpy(variable))
