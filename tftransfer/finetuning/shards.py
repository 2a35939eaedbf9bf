"""Rows on disk: written once in files of bounded size, read back in any order, never read unless whole."""

import contextlib
import json
import os
import shutil
import time
import uuid
import zlib
from pathlib import Path

import numpy as np

from tftransfer.weights import atomic_write

__all__ = ["Shards", "write_shards"]

SHARD_BYTES = 2**26  # of one file, about
INDEX = "index.json"  # written last
_ABANDONED = 24 * 3600.0  # seconds after which the remains of a killed run are removed


class Shards:
    """Rows that `write_shards` wrote, indexed like a NumPy array by a slice or an array of places.

    Only the rows asked for are read into memory.

    Args:
        folder: where they lie.
        check: whether to compare every file with its checksum, for which all of them are read once.

    Attributes:
        shape, dtype: as of an array.

    Raises:
        ValueError: when the index or a file is missing, cut short, or not what was written.

    Example:

    >>> import tempfile
    >>> rows = np.arange(12.0, dtype="float32").reshape(6, 2)
    >>> shards = write_shards(tempfile.mkdtemp() + "/rows", [rows[:4], rows[4:]])
    >>> shards.shape, shards[np.array([5, 0])].tolist()
    ((6, 2), [[10.0, 11.0], [0.0, 1.0]])
    """

    def __init__(self, folder, *, check=False):
        self.folder = Path(folder)
        index = _read_index(self.folder)
        if check:
            for record in index["files"]:
                if _checksum(self.folder / record["name"]) != record["crc32"]:
                    raise ValueError(f"{self.folder / record['name']} is not what was written there.")
        self.shape, self.dtype = tuple(index["shape"]), np.dtype(index["dtype"])
        self._starts = np.cumsum([0] + [record["rows"] for record in index["files"]])
        self._files = [self._opened(self.folder / record["name"]) for record in index["files"]]

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        rows = np.asarray(rows)
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        places = out.reshape(len(rows), -1).view("uint8")
        which = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(which):
            here = np.flatnonzero(which == number)
            here = here[np.argsort(rows[here])]  # forwards through the file
            path, first = self._files[number]
            with path.open(
                "rb", buffering=0
            ) as file:  # not mapped: an error of the disk would kill the process
                for place in here:
                    file.seek(first + int(rows[place] - self._starts[number]) * places.shape[1])
                    if file.readinto(memoryview(places[place])) != places.shape[1]:
                        raise OSError(f"{path} has been cut short.")
        return out

    def _opened(self, path):
        """The path, and where in the file the rows begin."""
        rows = np.load(path, mmap_mode="r")
        if rows.shape[1:] != self.shape[1:] or rows.dtype != self.dtype:
            raise ValueError(f"{path} does not fit its index.")
        return path, rows.offset


def write_shards(folder, parts, *, dtype=None, shard_bytes=None):
    """Writes rows to a new folder, which is there in the end with all of them, or not at all.

    The files are written in a folder beside it, each whole and flushed (`weights.atomic_write`), then the
    index with their sizes and checksums, then that folder gets its name.

    Args:
        folder: a folder that does not exist; parents are made.
        parts: arrays of rows, one after the other; no more than one file's worth is held in memory.
        dtype: NumPy type to write in; None leaves it.
        shard_bytes: size of one file, about.

    Returns:
        The `Shards`.

    Raises:
        OSError: when the disk is full or the folder cannot be written; nothing is left there.
    """
    folder, limit = Path(folder), shard_bytes or SHARD_BYTES
    partial = folder.with_name(f"{folder.name}.partial-{uuid.uuid4().hex[:8]}")
    try:
        partial.mkdir(parents=True)
        _remove_abandoned(folder)
        files, rows, held = [], [], 0
        for part in parts:
            part = np.asarray(part, dtype)
            rows.append(part)
            held += part.nbytes
            if held >= limit:
                files.append(_write(partial, len(files), rows))
                rows, held = [], 0
        if rows:
            files.append(_write(partial, len(files), rows))
        size = sum(record["rows"] for record in files)
        index = {"shape": [size, *part.shape[1:]], "dtype": part.dtype.str, "files": files}
        with atomic_write(partial / INDEX) as temporary:
            temporary.write_text(json.dumps(index))
        try:
            os.rename(partial, folder)
        except OSError:
            if not (folder / INDEX).exists():  # else somebody was there first
                raise
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(partial, ignore_errors=True)
    return Shards(folder)


def _write(folder, number, parts):
    name, rows = f"{number:05}.npy", np.concatenate(parts)
    with atomic_write(folder / name) as temporary:
        with temporary.open("wb") as file:
            np.save(file, rows)
        crc32 = _checksum(temporary)
        size = temporary.stat().st_size
    return {"name": name, "rows": len(rows), "bytes": size, "crc32": crc32}


def _read_index(folder):
    try:
        index = json.loads((folder / INDEX).read_text())
        for record in index["files"]:
            if (folder / record["name"]).stat().st_size != record["bytes"]:
                raise ValueError(f"{record['name']} is cut short")
        if sum(record["rows"] for record in index["files"]) != index["shape"][0]:
            raise ValueError("files are missing")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"The features in {folder} are not whole: {error}.") from error
    return index


def _checksum(path):
    value = 0
    with path.open("rb") as file:
        while block := file.read(2**22):
            value = zlib.crc32(block, value)
    return value


def _remove_abandoned(folder):
    """What a run that was killed left under this name, long ago."""
    for path in folder.parent.glob(f"{folder.name}.partial-*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED:
                shutil.rmtree(path, ignore_errors=True)
