"""One progress bar for a whole run, where Keras prints one an epoch."""

import keras

from tftransfer.placement.launch import is_launched


class RunProgress(keras.callbacks.Callback):
    """A single bar over all steps of a run: how far, how long still, and the figures of the last whole epoch.

    Args:
        steps: steps of an epoch.
        epochs: epochs of the whole run.
        start: steps done before.

    Example:

    >>> RunProgress(steps=10, epochs=3).target
    30
    """

    def __init__(self, *, steps, epochs, start=0):
        super().__init__()
        self.target = steps * epochs
        self.steps = steps
        self.done = start
        self._figures = []
        self._bar = None

    def on_train_begin(self, logs=None):
        if self._bar is None:
            interval = 10.0 if is_launched() else 0.05  # Ray makes a line of each time it is drawn
            self._bar = keras.utils.Progbar(self.target, unit_name="step", interval=interval)

    def on_train_batch_end(self, batch, logs=None):
        self.done += 1
        if self.done < self.target:  # the last step waits for the figures of its epoch
            self._bar.update(self.done, self._figures)

    def on_epoch_end(self, epoch, logs=None):
        self.done = (epoch + 1) * self.steps  # steps_per_execution counts several steps as one batch
        self._figures = [(name, float(value)) for name, value in (logs or {}).items()]
        self._bar.stateful_metrics.update(logs or {})  # as they are, not their mean so far
        self._bar.update(self.done, self._figures, finalize=self.done >= self.target)
