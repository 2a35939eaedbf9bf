"""When a callback looks at features: at the first and the last epoch, and every few between."""

import keras

__all__ = ["Looks"]


class Looks(keras.callbacks.Callback):
    """Base of the callbacks that look at a model at intervals; between two looks the last figures stand.

    A subclass says `look(epoch, due)`, which returns a dict of figures for the logs. A run that goes on is looked at
    once where it happens to begin, for there are no figures yet; `due` is False there.

    Args:
        every: epochs between two looks.

    Example:

    >>> class Number(Looks):
    ...     def look(self, epoch, due):
    ...         return {"number": epoch}
    >>> callback, logs = Number(every=2), [{}, {}, {}, {}]
    >>> callback.set_params({"epochs": 4})
    >>> for epoch, each in enumerate(logs):
    ...     callback.on_epoch_end(epoch, each)
    >>> [each["number"] for each in logs]
    [0, 1, 1, 3]
    """

    def __init__(self, *, every=1):
        super().__init__()
        self.every, self._last = every, {}

    def look(self, epoch, due):
        raise NotImplementedError("A subclass's look(epoch, due) returns a dict of figures.")

    def on_epoch_end(self, epoch, logs=None):
        due = epoch == 0 or epoch + 1 == self.params.get("epochs") or (epoch + 1) % self.every == 0
        if due or not self._last:
            self._last = self.look(epoch, due)
        if logs is not None:
            logs.update(self._last)
