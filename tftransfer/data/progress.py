"""A progress bar that appears only when the work turns out to be long."""

import time

import keras


class Progress:
    """Shows a Keras progress bar once the work has taken longer than `patience` seconds, and nothing before.

    Args:
        total: Number of items, or None when unknown.
        what: Text printed above the bar.
        patience: Seconds of silence.

    Example:

    >>> progress = Progress(3, "reading three pictures")
    >>> for _ in range(3):
    ...     progress.add(1)
    """

    def __init__(self, total, what, *, patience=2.0):
        self.total = total
        self.what = what
        self.patience = patience
        self._done = 0
        self._begun = time.monotonic()
        self._bar = None

    def add(self, count):
        """Counts `count` more items as done."""
        self._done += count
        if self._bar is None and time.monotonic() - self._begun > self.patience:
            print(self.what)
            self._bar = keras.utils.Progbar(self.total, unit_name="example")
        if self._bar is not None:
            self._bar.update(self._done)
