"""What watches a fine-tuning run: the best epoch over all stages, and a loss that is no number."""

import math

import keras
import numpy as np

__all__ = ["BestEpoch", "StopOnNaN"]

_CHECK_EVERY = 50  # steps; reading the loss at each would make an accelerator wait


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


def _copy(variable):
    return np.array(keras.ops.convert_to_numpy(variable))


class StopOnNaN(keras.callbacks.Callback):
    """Raises `FloatingPointError` when the loss is no longer a finite number."""

    def __init__(self, stage, rate):
        super().__init__()
        self.stage = stage
        self.rate = rate

    def on_train_batch_end(self, batch, logs=None):
        if batch % _CHECK_EVERY == _CHECK_EVERY - 1:
            self._check(logs, f"at step {batch + 1} of an epoch")

    def on_epoch_end(self, epoch, logs=None):
        self._check(logs, f"in epoch {epoch + 1}")

    def _check(self, logs, where):
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"Stage {self.stage!r}: the training loss became {loss} {where}. The weights are of no use "
                f"now: load them again, and lower the learning rate (it was {self.rate}) or lengthen the "
                "probe before this stage; if that does not help, look for targets or inputs of huge size, "
                "and with mixed_float16 use mixed_bfloat16 instead."
            )
