"""The state of a fine-tuning run on disk: which stage, where in it, and the best epoch so far."""

import hashlib
import json
import time
from pathlib import Path

import h5py
import keras
import numpy as np

from tftransfer.checkpoints import Checkpoint
from tftransfer.finetuning.freezing import variable_paths
from tftransfer.layers import random_states
from tftransfer.placement import Workers
from tftransfer.placement.launch import reports
from tftransfer.weights.hdf5 import open_file
from tftransfer.weights.seal import check_seal, sealed_write

__all__ = ["RunState"]

SECONDS = 30.0  # least time between two files of a stage
STATE = "tftransfer_finetuning"
_OVERHEAD = 4096  # bytes that the format takes for each array, rather too many


class RunState:
    """Files that a run goes on from after a kill at any moment; each is replaced whole.

    Args:
        resume: path of the state, or True for a name made of the settings, in the working folder.
        task: the task.
        settings: what the run was started with (JSON); the state of another run is refused.
        say: function that is told what was found.
        workers: the `placement.Workers` that train together; the chief alone writes, and all read what it has.
        save_every: see `Checkpoint`.
        preemption: see `Checkpoint`.

    Attributes:
        found: the state that was found (a dict), or None.
        reports: callbacks that report to Ray where `placement.launch` started this worker.
    """

    def __init__(self, resume, task, settings, say, *, workers=None, save_every=None, preemption=None):
        if resume is True:
            digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
            resume = f"finetune-{digest}.state.h5"
        self.path = Path(resume)
        self.best_path, self.start_path = (self.path.with_suffix(end) for end in (".best.h5", ".start.h5"))
        self.task, self.settings, self.found = task, settings, None
        self.workers = workers or Workers()
        self.options = {"workers": self.workers, "save_every": save_every, "preemption": preemption}
        paths = (self.path, self.best_path, self.start_path)
        self.reports = reports(paths, workers=self.workers)
        self.path, self.best_path, self.start_path = map(self.workers.fetch, paths)
        if not self.path.exists():
            for path in (self.best_path, self.start_path) if self.workers.is_chief else ():
                path.unlink(missing_ok=True)  # of a run whose state was deleted
            say(
                f"Nothing to resume: there is no {self.path}. Starting, and keeping the state of the run "
                "there."
            )
            return
        self.found = _read(self.path)
        different = [name for name, value in settings.items() if self.found["settings"].get(name) != value]
        if different:
            was, now = (
                {name: each.get(name) for name in different} for each in (self.found["settings"], settings)
            )
            raise ValueError(
                f"{self.path} belongs to a run that was started with {was}, not with {now}. Start with the "
                "same settings, give resume another path, or delete the file to start over."
            )
        say(
            f"Resuming from {self.path}: stage {self.found['stage'] + 1}, {self.found['step']} steps are "
            "done."
        )

    def begins_at(self, number):
        """Whether the run goes on in this stage, rather than beginning it."""
        return self.found is not None and number == self.found["stage"]

    def is_over(self, number):
        """Whether the stage lies before the one to go on with."""
        return self.found is not None and number < self.found["stage"]

    def before_prepare(self, number):
        """Keeps, or puts back, the weights that a stage's `prepare` finds."""
        if self.begins_at(number):
            if self.start_path.exists():
                _read(self.start_path)
                _load(self.task, self.start_path)
        elif not self.is_over(number):
            self._save(self.start_path, {"stage": number})

    def checkpoint(self, **place):
        """The callback that keeps the state of a stage; `place` is what to find it by again (JSON)."""
        made = StageCheckpoint(self.path, {"settings": self.settings, **place}, **self.options)
        made.set_model(self.task)
        return made

    def place(self, place, found, history, best):
        """Where a stage begins or goes on.

        Args:
            place: what to find it by again (JSON).
            found: the state that it goes on from, or None.
            history: the run's history, which is put back.
            best: the run's `BestEpoch`, put back as well, or None.

        Returns:
            `(first epoch, steps of the run that are done, checkpoint)`.
        """
        steps = place["steps_per_epoch"]
        if found is None:
            first = len(history.epoch)
            checkpoint = self.checkpoint(**place, first_epoch=first, stages=history.stages)
            checkpoint.step = first * steps
            checkpoint.past = {name: list(values) for name, values in history.history.items()}
            if best is not None and best.epoch is not None:
                self.save_best(best)  # with what the stage has added to the task
            checkpoint.save()
            return first, checkpoint.step, checkpoint
        checkpoint = self.checkpoint(**place, first_epoch=found["first_epoch"], stages=found["stages"])
        checkpoint.restore()
        history.history = {name: list(values) for name, values in checkpoint.past.items()}
        history.epoch = list(range(checkpoint.step // steps))
        history.stages = list(found["stages"])
        if best is not None:
            self.load_best(best)
        return found["first_epoch"], checkpoint.step, checkpoint

    def save_best(self, best):
        """Writes the weights of the best epoch; given to `BestEpoch`."""
        kept = {"epoch": best.epoch, "value": best.value, "score": best.score}
        self._save(self.best_path, kept, instead=best.saved)

    def _save(self, path, record, **more):
        if self.workers.is_chief:
            _save(self.task, path, record, **more)

    def load_best(self, best):
        """Gives the best epoch so far back to a `BestEpoch`."""
        if self.best_path.exists():
            kept = _read(self.best_path)
            with open_file(self.best_path, repr(str(self.best_path))) as file:
                weights = [(v, file[f"weights/{p}"][()]) for p, v in variable_paths(self.task).items()]
            best.remember(kept["epoch"], kept["value"], tuple(kept["score"]), weights)

    def delete(self):
        """Removes the files, when the run has ended."""
        for path in (self.path, self.best_path, self.start_path) if self.workers.is_chief else ():
            path.unlink(missing_ok=True)
        self.workers.close()


class StageCheckpoint(Checkpoint):
    """The checkpoint of one stage: all weights by path, the optimizer's variables, random states, the place.

    By path and raw, where Keras's own file would merge LoRA into the kernels.
    """

    def __init__(self, path, place, **options):
        steps = place["steps_per_epoch"]
        super().__init__(path, fingerprint={}, steps_per_epoch=steps, seconds=SECONDS, **options)
        self.place = place
        self.whole_epochs = False  # what Keras takes for a step is an epoch
        self.own = (
            list  # gives `(variable, value)` of training's own values while an average is in their place
        )

    def on_train_batch_end(self, batch, logs=None):
        if not self.whole_epochs:
            super().on_train_batch_end(batch, logs)

    def save(self, **more):
        """Writes the state now."""
        self.place |= more
        super().save()

    def _write(self):
        record = {**self.place, "step": self.step, "history": self.past}
        own = {id(variable): (variable, value) for variable, value in self.own()}
        _save(self.model, self.path, record, optimizer=self.model.optimizer, instead=own)
        self._saved_at = time.monotonic()  # the time that writing took is not counted

    def restore(self):
        """Puts everything back; returns the record."""
        record = _read(self.path)
        _load(self.model, self.path, optimizer=self.model.optimizer)
        self.step, self.past = record["step"], record["history"]
        self._saved_step = self.step
        return record


def _save(task, path, record, optimizer=None, instead=None):
    """Writes weights (or what is given `instead`, by id), random states and optimizer variables."""
    weights = variable_paths(task).items()
    numbers = {f"weights/{path}": (instead or {}).get(id(v), (v, v))[1] for path, v in weights}
    numbers |= {f"random/{i}": state for i, state in enumerate(random_states(task))}
    numbers |= {f"optimizer/{i}": v for i, v in enumerate(optimizer.variables if optimizer else ())}
    numbers = {name: keras.ops.convert_to_numpy(variable) for name, variable in numbers.items()}
    text = json.dumps(record)
    size = sum(n.nbytes + _OVERHEAD for n in numbers.values()) + len(text) + _OVERHEAD
    with sealed_write(path, size) as temporary, h5py.File(temporary, "w") as file:
        for name, values in numbers.items():
            file[name] = values
        file.attrs[STATE] = text


def _read(path):
    """The record of a file that is whole."""
    where = repr(str(path))
    seal = check_seal(path, where)
    with open_file(path, where) as file:
        if STATE not in file.attrs:
            raise ValueError(f"{path} is not the state of a fine-tuning run. Give resume another path.")
        if seal is None:
            raise ValueError(f"{path} is damaged: its end is missing. Delete it to start over.")
        return json.loads(file.attrs[STATE])


def _load(task, path, optimizer=None):
    with h5py.File(path, "r") as file:
        for name, variable in variable_paths(task).items():
            if f"weights/{name}" in file:  # what prepare adds is not there before it
                variable.assign(file[f"weights/{name}"][()])
        for i, state in enumerate(random_states(task)):
            if f"random/{i}" in file:
                state.assign(file[f"random/{i}"][()])
        for i, variable in enumerate(optimizer.variables if optimizer else ()):
            variable.assign(np.asarray(file[f"optimizer/{i}"][()], variable.dtype))
