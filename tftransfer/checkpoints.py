"""Checkpoints that an interrupted run continues from: all state in one file, replaced whole."""

import json
import math
import numbers
import time
from pathlib import Path

import h5py
import keras

from tftransfer.layers import random_states
from tftransfer.placement import Workers
from tftransfer.weights import variable_paths
from tftransfer.weights.hdf5 import open_file
from tftransfer.weights.seal import check_seal, sealed_write

STATE = "tftransfer_checkpoint"


class Checkpoint(keras.callbacks.Callback):
    """Saves weights, optimizer slots, random state, and the position of a run, in one `.weights.h5` file.

    Written at the end of epochs, and within an epoch, when `seconds` have passed since the last time, or every so
    many steps; a kill at any moment leaves the last whole file. `restore` puts everything back. Of several workers the
    chief alone writes, and all restore what the chief has.

    Args:
        path: the checkpoint file, `*.weights.h5`.
        seconds: least time between two files; the end of an epoch counts from the same clock, except the
            first.
        fingerprint: what the run was started with (JSON); `restore` refuses another one.
        steps_per_epoch: steps of an epoch.
        save_every: steps between two files, instead of seconds.
        preemption: a `Preemption`, which may ask to save and end.
        workers: the `placement.Workers` that train together; by default this process alone.

    Example:

    >>> Checkpoint("run/encoder.checkpoint.weights.h5", fingerprint={"seed": 0}, steps_per_epoch=10).seconds
    30.0
    """

    def __init__(
        self,
        path,
        *,
        fingerprint,
        steps_per_epoch,
        seconds=30.0,
        save_every=None,
        preemption=None,
        workers=None,
    ):
        super().__init__()
        self.path = Path(path)
        self.save_every, self.preemption, self.workers = save_every, preemption, workers or Workers()
        self.fingerprint = fingerprint
        self.steps_per_epoch = steps_per_epoch
        self.seconds = seconds
        self.past = {}
        self.step = 0
        self._epoch = 0
        self._offset = 0
        self._saved_at, self._saved_step = time.monotonic(), 0

    def resume(self, model, say=print):
        """Puts a compiled model back to where the file says, if there is one.

        Returns:
            `(step, history)`: steps done, and the history so far, `(0, {})` without a file.
        """
        path = self.workers.fetch(self.path)
        if not path.exists():
            say(f"Nothing to resume: there is no {self.path}. Starting.")
            return 0, {}
        self.step, self.past = restore(model, path, fingerprint=self.fingerprint)
        self._saved_step = self.step
        epoch, step = divmod(self.step, self.steps_per_epoch)
        say(f"Resumed from {self.path}: {epoch} epochs and {step} steps of {self.steps_per_epoch} are done.")
        return self.step, {name: list(values) for name, values in self.past.items()}

    def delete(self):
        """Removes the file, when the run has ended and its result is safe."""
        if self.workers.is_chief:
            self.path.unlink(missing_ok=True)

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        self._offset = self.step - epoch * self.steps_per_epoch

    def on_train_batch_end(self, batch, logs=None):
        self.step = self._epoch * self.steps_per_epoch + self._offset + batch + 1
        if not self.step % self.steps_per_epoch:
            return  # the end of the epoch comes next, with its figures
        gone = self.preemption is not None and self.preemption.has_come()
        if (gone or self._is_due()) and math.isfinite(float((logs or {}).get("loss", 0.0))):
            self.save()  # never weights that are lost already
        if gone:
            self.preemption.end(self.path)

    def on_epoch_end(self, epoch, logs=None):
        self.step = (epoch + 1) * self.steps_per_epoch
        for name, value in (logs or {}).items():
            self.past.setdefault(name, []).append(float(value))
        gone = self.preemption is not None and self.preemption.has_come()
        if gone or self._is_due() or (epoch == 0 and self.save_every is None):
            self.save()
        if gone:
            self.preemption.end(self.path)

    def _is_due(self):
        if self.save_every is not None:
            return self.step - self._saved_step >= self.save_every
        return time.monotonic() - self._saved_at > self.seconds

    def save(self):
        """Writes the checkpoint now; the old one stays until the new one is whole. The chief does it alone.

        Raises:
            OSError: the disk is full; the old checkpoint is unchanged.
        """
        self._saved_at, self._saved_step = time.monotonic(), self.step
        if self.workers.is_chief:
            self._write()

    def _write(self):
        state = {
            "step": self.step,
            "history": self.past,
            "fingerprint": self.fingerprint,
            "variables": _variables(self.model),
            "random": [_numbers(state) for state in random_states(self.model)],  # not in Keras's files
        }
        text = json.dumps(state)
        with sealed_write(self.path, _size(self.model) + len(text)) as temporary:
            self.model.save_weights(temporary)  # the optimizer's variables included
            with h5py.File(temporary, "r+") as file:
                file.attrs[STATE] = text
        self._saved_at = time.monotonic()  # the time that writing took is not counted


def check_save_every(save_every, saving, needed):
    """Raises a `ValueError` unless `save_every` is None or a number of steps, in a run that saves."""
    if save_every is None:
        return
    if isinstance(save_every, bool) or not isinstance(save_every, numbers.Integral) or save_every < 1:
        raise ValueError(f"save_every is a number of steps from 1 up, or None; received {save_every!r}.")
    if not saving:
        raise ValueError(f"save_every={save_every} needs {needed}: without it no checkpoint is kept.")


def calls_left(start, steps, last):
    """The calls of `fit` left after `start` steps.

    Args:
        start: steps of the run that are done.
        steps: steps an epoch.
        last: number of the last epoch, from 1.

    Yields:
        `(first step, last epoch, steps an epoch)`.

    Example:

    >>> list(calls_left(7, 5, 4))
    [(7, 2, 3), (10, 4, 5)]
    """
    whole = -(-start // steps) * steps
    if start % steps:  # first the rest of the epoch that was cut
        yield start, start // steps + 1, whole - start
    if whole < last * steps:
        yield whole, last, steps


def restore(model, path, *, fingerprint):
    """Puts a compiled model back to where `Checkpoint` left it.

    Args:
        model: the same model, compiled the same way.
        path: the checkpoint file.
        fingerprint: what this run was started with; must equal the checkpoint's.

    Returns:
        `(step, history)`: optimizer steps done, and the history of the whole epochs among them.

    Raises:
        ValueError: when the checkpoint belongs to another model or another run, or is damaged.
        OSError: when it is missing or must not be read.
    """
    where = repr(str(path))
    seal = check_seal(path, where)
    with open_file(path, where) as file:
        if STATE not in file.attrs:
            raise ValueError(
                f"{path} is not a checkpoint of an interrupted run. Delete it or give another path."
            )
        if seal is None:
            raise ValueError(
                f"{path} is damaged: its end is missing. Delete it, or pass resume=False to start over."
            )
        state = json.loads(file.attrs[STATE])
    different = {
        k: (state["fingerprint"].get(k), v)
        for k, v in fingerprint.items()
        if state["fingerprint"].get(k) != v
    }
    if different:
        listed = "; ".join(f"{name} was {old!r}, now {new!r}" for name, (old, new) in different.items())
        raise ValueError(
            f"{path} belongs to a run that was started differently: {listed}. Start with the same settings, or "
            f"pass resume=False to start over."
        )
    states = random_states(model)
    if state["variables"] != _variables(model) or len(state["random"]) != len(states):
        raise ValueError(f"{path} holds the state of another model. Pass resume=False to start over.")
    model.optimizer.build(model.trainable_variables)  # else Keras leaves the slots out, with a warning only
    model.load_weights(path)
    for random, values in zip(states, state["random"], strict=True):
        random.assign(values)
    return state["step"], state["history"]


def _size(model):
    """Bytes that the file of a compiled model will take, rather too many."""
    variables = [*model.variables, *model.optimizer.variables]
    values = sum(math.prod(v.shape) * (8 if "64" in str(v.dtype) else 4) for v in variables)
    return values + 8192 * len(variables) + 16_384


def _variables(model):
    """Names and shapes in order; without the layers' names, which Keras numbers anew in a notebook."""
    return [[path.rsplit("/", 1)[-1], list(v.shape)] for path, v in variable_paths(model).items()]


def _numbers(variable):
    return keras.ops.convert_to_numpy(variable).tolist()
