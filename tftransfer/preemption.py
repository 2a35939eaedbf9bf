"""What a run does when the system asks it to go (SIGTERM): it saves, says so and ends, to be gone on with later."""

import signal
import threading
import time

__all__ = ["Preempted", "Preemption"]

_SECONDS = 1.0  # between two meetings of several workers, about
_MOST = 1000  # steps between them
STATUS = 128 + int(signal.SIGTERM)


class Preempted(SystemExit):
    """The run was asked to end and has saved where it stands. Status 143, so that schedulers know it is not done."""


class Preemption:
    """Takes SIGTERM for as long as its block is open: clouds and schedulers send it before they take a machine away.

    Several workers stop after the same step: they tell each other about once a second, after as many steps as the
    slowest of them takes for that.

    Args:
        workers: the `placement.Workers` that train together.
        enabled: False to leave the signal alone, in a run that keeps no checkpoint.

    Example:

    >>> from tftransfer.placement import Workers
    >>> with Preemption(Workers()) as preemption:
    ...     preemption.has_come()
    False
    """

    def __init__(self, workers, *, enabled=True):
        self.workers, self.enabled = workers, enabled
        self._asked = self._has_come = False
        self._before = None
        self._wait, self._steps, self._since = 1, 0, time.monotonic()

    def __enter__(self):
        if self.enabled and threading.current_thread() is threading.main_thread():  # others get no signals
            self._before = signal.signal(signal.SIGTERM, self._handle)
        return self

    def __exit__(self, *_):
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
            self._before = None

    def _handle(self, *_):
        self._asked = True

    def has_come(self):
        """Whether to save and end now. Called by every worker after every step, and the same on all."""
        if not self.enabled or self._has_come:
            return self._has_come
        if self.workers.count == 1:
            self._has_come = self._asked
            return self._has_come
        self._steps += 1
        if self._steps >= self._wait:
            seconds = (time.monotonic() - self._since) / self._steps
            told = self.workers.exchange([self._asked, seconds])
            slowest = max(each[1] for each in told)
            self._wait = min(max(int(_SECONDS / max(slowest, 1e-6)), 1), 2 * self._wait, _MOST)
            self._steps, self._since = 0, time.monotonic()
            self._has_come = any(each[0] for each in told)
        return self._has_come

    def end(self, path):
        """Ends the program; the run is saved at `path`.

        Raises:
            Preempted: always.
        """
        self.workers.wait()  # nobody leaves while the chief still writes
        if self.workers.is_chief:
            print(
                f"Asked to end (SIGTERM): the run is saved in {path}. The same call with resume goes on from there."
            )
        raise Preempted(STATUS)
