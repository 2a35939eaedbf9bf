"""What watches a fine-tuning run: the best epoch over all stages, and how long a stage will take."""

import time

import keras
import numpy as np

from tftransfer.guards import ADVICE, StopOnBadLoss

__all__ = ["BestEpoch", "Pace", "best_epoch", "stop_on_bad_loss"]

_PATIENCE = 5.0  # seconds of a long epoch until its stage's length is told


class BestEpoch(keras.callbacks.Callback):
    """Keeps the weights of the best epoch over all stages of a run, in memory.

    Best by `monitor`; epochs that are equal in it (a small validation set) by the lower `val_loss`.

    Args:
        monitor: a logged name such as `"val_accuracy"`.
        mode: `"max"` or `"min"`.
        keep: function that is called with this object at each improvement.
    """

    def __init__(self, monitor, mode, keep=None):
        super().__init__()
        self.monitor = monitor
        self.sign = 1.0 if mode == "max" else -1.0
        self.keep = keep
        self.epoch = self.value = self.score = None
        self.saved = {}  # id -> (variable, value at the best epoch), of all that changed since
        self._changing = []

    def begin_stage(self, changing):
        """Says which variables the next stage may change: they are all that has to be copied."""
        self._changing = list(changing)
        if self.epoch is not None:  # unchanged since the best epoch until now
            for variable in self._changing:
                self.saved.setdefault(id(variable), (variable, _copy(variable)))

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        if self.monitor not in logs:
            raise ValueError(
                f"The best epoch is chosen by {self.monitor!r}, which is not among the figures of this run: "
                f"{sorted(logs)}. Pass one of these as `monitor`."
            )
        value = float(logs[self.monitor])
        score = (self.sign * value, -float(logs.get("val_loss", 0.0)))
        if self.score is None or score > self.score:
            self.remember(epoch, value, score, [(variable, _copy(variable)) for variable in self._changing])
            if self.keep is not None:
                self.keep(self)

    def remember(self, epoch, value, score, weights):
        """Takes an epoch for the best so far.

        Args:
            epoch: its number.
            value: the monitored figure.
            score: what makes it the best, a tuple.
            weights: `(variable, value)` of all variables that changed since the run began.
        """
        self.epoch, self.value, self.score = epoch, value, score
        self.saved = {id(variable): (variable, kept) for variable, kept in weights}

    def restore(self):
        """Puts the weights of the best epoch back."""
        for variable, value in self.saved.values():
            variable.assign(value)


def best_epoch(monitor, metrics, keep=None):
    """The `BestEpoch` by a logged figure.

    Args:
        monitor: its name, or "auto": the first metric on the validation data, else the loss.
        metrics: list of Keras metrics.
        keep: see `BestEpoch`.
    """
    if monitor == "auto":
        monitor = f"val_{metrics[0].name}" if metrics else "val_loss"
    lower = any(word in monitor for word in ("loss", "error", "mse", "mae", "rmse"))
    return BestEpoch(monitor, "min" if lower else "max", keep)


def stop_on_bad_loss(stage, rate):
    """A `StopOnBadLoss` that names the stage and its learning rate."""
    advice = (
        f"Load the task again, and lower the learning rate (it was {rate}) or lengthen the probe. {ADVICE}"
    )
    return StopOnBadLoss(50, where=f" of stage {stage!r}", advice=advice)


def _copy(variable):
    return np.array(keras.ops.convert_to_numpy(variable))


class Pace(keras.callbacks.Callback):
    """Says once how long a stage will take: after its first epoch, or earlier where that is long.

    The first step, in which Keras traces and compiles, is not counted. No step waits for the device.

    Args:
        say: function that is told.
        epochs: passes over the data of the stage.
        steps: what Keras takes for the steps of a pass.
    """

    def __init__(self, say, epochs, steps):
        super().__init__()
        self.say, self.epochs, self.steps = say, epochs, steps
        self.seconds_per_step = None
        self._since = self._passed = None

    def on_train_begin(self, logs=None):
        self._since = None

    def on_train_batch_end(self, batch, logs=None):
        now = time.monotonic()
        if self._since is None:
            self._since, self._passed = now, 0
            return
        self._passed += 1
        if self.seconds_per_step is None and now - self._since >= _PATIENCE:
            self._tell(now, "\n", ", validation not counted")

    def on_epoch_end(self, epoch, logs=None):
        if self._since is not None and self._passed and self.seconds_per_step is None:
            self._tell(time.monotonic(), "", "")

    def _tell(self, now, before, behind):
        self.seconds_per_step = (now - self._since) / self._passed
        whole = self.seconds_per_step * self.steps * self.epochs
        self.say(f"{before}  {self.epochs} epochs take about {whole:.2g} s{behind}.")
