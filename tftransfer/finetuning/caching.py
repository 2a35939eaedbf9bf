"""Where features of what is frozen are kept while a stage trains on them: in memory, or in files on disk."""

import os
import shutil
import tempfile
import uuid
from pathlib import Path

import numpy as np

from tftransfer.data.batches import to_columns
from tftransfer.data.dataset_batches import is_dataset
from tftransfer.finetuning import features
from tftransfer.finetuning.fingerprints import fingerprint_of_examples, fingerprint_of_layers
from tftransfer.finetuning.memory import free_memory
from tftransfer.finetuning.shards import Shards, write_shards
from tftransfer.finetuning.streams import Features

__all__ = ["Caching", "Shared"]

MEMORY_SHARE = 0.25  # of the memory that is free now; TensorFlow holds features twice
DISK_SHARE = (
    0.5  # of the room that is free in the folder for temporary files, where nobody asked for the disk
)
LARGER = 8  # "auto" writes no features to disk that are larger than so many times the examples as float32


class Caching:
    """Keeps features for one `finetune` call, and removes them after it.

    Args:
        where: "auto": in memory where they take at most a quarter of what is free now, else in temporary
            files where they take at most half of the room there and are no larger than eight times the
            examples, else nowhere, and the frozen part runs in every step. "memory" and "disk" leave no
            choice; False keeps no features. A path is a folder to keep them in: they stay there, and a later
            run takes them up again if frozen weights, layers, examples and preprocessing are bit for bit the
            same.
        dtype: "float32" or "float16" to keep them in; float16 takes half the room, and results differ by its
            rounding.
        draws: how many draws of the augmentation (of whatever draws random numbers in the frozen part, or
            before it) are kept of each example; epoch e trains on draw `e % draws`. None keeps nothing
            where something is drawn.
        seed: of the draws.

    Raises:
        ValueError: for an argument out of range.
    """

    def __init__(self, where="auto", *, dtype="float32", draws=None, seed=0):
        known = where is False or isinstance(where, (str, os.PathLike))
        if not known or where == "":
            raise ValueError(
                'cache is "auto", "memory", "disk", False or the path of a folder; received ' + f"{where!r}."
            )
        if dtype not in ("float32", "float16"):
            raise ValueError(f'cache_dtype is "float32" or "float16"; received {dtype!r}.')
        if draws is not None and (isinstance(draws, bool) or not isinstance(draws, int) or draws < 1):
            raise ValueError(f"augmentation_draws is a whole number from 1 up, or None; received {draws!r}.")
        self.where, self.dtype, self.draws, self.seed = where, dtype, draws, seed
        self.folder = None if where in (False, "auto", "memory", "disk") else Path(where).expanduser()
        self.on_disk = self.folder is not None or where == "disk"
        self._kept = None  # an embedder, and what it made of data and validation data
        self._temporary = None

    @classmethod
    def of(cls, where, **options):
        """The caching that an argument of `finetune` stands for; one that is shared comes as it is."""
        return where if isinstance(where, cls) else cls(where, **options)

    def settings(self):
        """What of it the final weights depend on, as JSON; None where nothing does."""
        plain = self.dtype == "float32" and self.draws is None
        return None if plain else [self.dtype, self.draws]

    def refuses(self, shape, examples, example_shape):
        """Why features will not be kept; None if they will. Decides, for "auto", whether in memory or on disk.

        Args:
            shape: of the features of one example.
            examples: how many, validation examples too.
            example_shape: shape of one example.
        """
        if self.where is False:
            return "cache=False"
        if None in shape:
            return f"the features have no fixed size {shape}"
        size = (
            np.dtype(self.dtype).itemsize * int(np.prod(shape, dtype="int64")) * examples * (self.draws or 1)
        )
        if self.where != "auto":
            if self.on_disk:
                self._check_room(size)
            return None
        self.on_disk = size > MEMORY_SHARE * free_memory()
        if not self.on_disk:
            return None
        if np.prod(shape) * (self.draws or 1) > LARGER * np.prod([n or 1 for n in example_shape]):
            return f'the features would take {_bytes(size)}, much more than the examples (cache="disk" keeps them)'
        room = shutil.disk_usage(tempfile.gettempdir()).free
        if size > DISK_SHARE * room:
            return (
                f"the features would take {_bytes(size)}, too much for the memory and {tempfile.gettempdir()}"
            )
        return None

    def features(self, task, embedder, data, validation, **options):
        """`Features` of training and validation data (None where there are none).

        The last ones are kept for the next stage, which may have the same.

        Args:
            task: the task.
            embedder: its `features.Embedder`.
            data, validation: what the user gave.
            **options: `batch_size`, `scale` and `verbose` of `features.embed`.
        """
        if self._kept is None or self._kept[0] is not embedder:
            self.forget()
            drawn = self.draws and features.draws_numbers(task, embedder)
            training = features.drawing(task, embedder) if drawn else embedder
            made = self._make(training, data, self.draws if drawn else None, **options)
            other = None if validation is None else self._make(embedder, validation, None, **options)
            self._kept = embedder, (made, other)
        return self._kept[1]

    def forget(self):
        """Removes what was kept, but for a folder that the user named."""
        self._kept = None
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def _make(self, embedder, data, draws, **options):
        if not self.on_disk:
            rows, *labels = features.embed(
                embedder, data, dtype=self.dtype, draws=draws, seed=self.seed, **options
            )
            return Features(rows, labels, draws or 1)
        labels = []
        parts = features.embedded_parts(embedder, data, labels, draws=draws, seed=self.seed, **options)
        if self.folder is None or is_dataset(data):
            self._temporary = self._temporary or tempfile.TemporaryDirectory(
                prefix="features-", ignore_cleanup_errors=True
            )
            rows = self._written(Path(self._temporary.name) / uuid.uuid4().hex[:8], parts)
        else:
            folder = self.folder / self._key(embedder, data, draws, **options)
            rows = _found(folder, options.get("verbose"))
            if rows is None:
                rows = self._written(folder, parts)
        return Features(rows, labels or to_columns(data)[0][1:], draws or 1)

    def _key(self, embedder, data, draws, *, batch_size, scale, verbose=0):
        x = to_columns(data)[0][0]
        drawn = {"draws": draws, "seed": self.seed, "batch_size": batch_size} if draws else {}
        layers = fingerprint_of_layers([embedder.augmentation, *embedder.parts, embedder.pool])
        examples = fingerprint_of_examples(x, scale=scale, dtype=self.dtype, **drawn)
        return f"{layers[:16]}-{examples[:16]}"

    def _written(self, folder, parts):
        try:
            return write_shards(folder, parts, dtype=self.dtype)
        except OSError as error:
            raise self._no_room(folder, error) from error

    def _check_room(self, size):
        folder = self.folder or Path(tempfile.gettempdir())
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
            free = shutil.disk_usage(folder).free
        except OSError as error:
            raise self._no_room(folder, error) from error
        if size > free and not (
            self.folder and any(self.folder.glob("*/index.json"))
        ):  # perhaps there already
            raise self._no_room(folder, f"they would take {_bytes(size)}, and {_bytes(free)} are free")

    def _no_room(self, folder, error):
        reason = (
            f"The features of what is frozen could not be kept in {folder}: {error}. Nothing was left there. Free "
            'some room, or give finetune another folder (cache=path), cache_dtype="float16", or cache=False to run '
            "the frozen part in every step."
        )
        number = getattr(error, "errno", None)
        return OSError(number, reason) if number else OSError(reason)


class Shared(Caching):
    """Features of all examples, computed once for several `finetune` calls on parts of them.

    Shared is what the first call needs, wherever a later one finds the same frozen weights; what it finds
    others, it computes for its own part.

    Args:
        x: all examples.
        where, **options: as for `Caching`.
    """

    def __init__(self, x, where="auto", **options):
        super().__init__(where, **options)
        self.x, self.places = x, None
        self._made, self._first = {}, True

    def choose(self, places):
        """Says which examples the next call is given."""
        self._first, self.places = self.places is None, places

    def refuses(self, shape, examples, example_shape):
        return super().refuses(shape, max(examples, len(self.x)), example_shape)

    def features(self, task, embedder, data, validation, **options):
        drawn = self.draws and features.draws_numbers(task, embedder)
        training = features.drawing(task, embedder) if drawn else embedder
        key = fingerprint_of_layers([training.augmentation, *training.parts, training.pool])
        if key not in self._made:
            if not self._first:
                return super().features(task, embedder, data, validation, **options)
            self._made[key] = self._make(training, self.x, self.draws if drawn else None, **options)
        part = self._made[key].part(self.places)
        part.labels = to_columns(data)[0][1:]
        return part, None if validation is None else self._make(embedder, validation, None, **options)

    def forget(self):
        """Lets go of what the last call had for itself; what is shared stays."""
        self._kept = None

    def close(self):
        """Removes everything, but for a folder that the user named."""
        self._made = {}
        super().forget()


def _found(folder, verbose):
    """What an earlier run left, if it is whole; what is not is removed."""
    if not folder.exists():
        return None
    try:
        return Shards(folder, check=True)
    except ValueError as error:
        if verbose:
            print(f"{error} They are computed anew.")
        shutil.rmtree(folder)
        return None


def _bytes(size):
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size} bytes"
