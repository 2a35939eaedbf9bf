"""Where weights come from: the files that Keras and we write, and models in memory, all seen in one way."""

import contextlib
import math
import os
from dataclasses import dataclass, field
from pathlib import Path

import keras

from tftransfer.weights.hdf5 import open_file, read_array, stored_arrays
from tftransfer.weights.layout import is_weight, key_of
from tftransfer.weights.paths import slots
from tftransfer.weights.record import checksum, read_record


@dataclass(frozen=True)
class Entry:
    """One variable of a source."""

    chain: tuple | None  # names of the layers from the outside in; None where the file keeps none
    leaf: str  # name of the variable, or its number in the layer where the file keeps no name
    shape: tuple
    dtype: str
    location: str
    checksum: str | None = None
    index: int | None = None  # number in the layer, where known

    @property
    def path(self):
        """Its path; the place in the file where layers have no names."""
        return self.location if self.chain is None else "/".join([*self.chain, self.leaf])

    @property
    def parameters(self):
        """Number of values."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Source:
    """An open source: its entries in order, and how to read one."""

    kind: str
    name: str
    entries: tuple
    read: object = field(repr=False)  # Entry -> NumPy array, its checksum verified
    record: object = None


@contextlib.contextmanager
def open_source(source):
    """Opens a path or a model as a `Source`.

    Raises:
        OSError: the file is missing or must not be read.
        ValueError: it is not a source of weights, is damaged, or is refused as unsafe.
    """
    if isinstance(source, keras.layers.Layer):
        yield _model(source)
        return
    if not isinstance(source, (str, os.PathLike)):
        raise ValueError(
            f"Expected a weights file or a keras.Model to take weights from, received {source!r}."
        )
    path = Path(source).expanduser()
    with open_file(path) as file:
        yield _keras_file(path, file)


def _model(model):
    found = slots(model)
    variables = {slot.path: slot.variable for slot in found}
    entries = tuple(
        Entry(
            slot.chain,
            slot.name,
            tuple(slot.variable.shape),
            slot.variable.dtype,
            slot.path,
            index=slot.index,
        )
        for slot in found
    )
    return Source(
        "model in memory",
        f"the model {model.name!r}",
        entries,
        lambda e: keras.ops.convert_to_numpy(variables[e.location]),
    )


def _keras_file(path, file):
    """A `.weights.h5` file of Keras 3, with or without a record."""
    arrays = {location: array for location, array in stored_arrays(file).items() if is_weight(location)}
    record = read_record(file)
    if record is not None:
        entries = _from_manifest(path, file, arrays, record)
    else:
        keys = {location: key_of(file, location) for location in arrays}
        entries = tuple(
            Entry(
                keys[a.location][0],
                str(keys[a.location][1]),
                a.shape,
                a.dtype,
                a.location,
                index=keys[a.location][1],
            )
            for a in arrays.values()
        )
    if not entries:
        raise ValueError(f"{str(path)!r} holds no weights.")

    def read(entry):
        value = read_array(file, arrays[entry.location])
        if entry.checksum is not None and checksum(value) != entry.checksum:
            raise ValueError(
                f"{str(path)!r} is damaged: the values of {entry.path!r} are not the ones that were saved."
            )
        return value

    kind = (
        "weights file of Keras" if record is None else f"weights file of tftransfer (format {record.format})"
    )
    return Source(kind, str(path), entries, read, record)


def _from_manifest(path, file, arrays, record):
    entries = []
    for row in record.manifest:
        array = arrays.get(row.location)
        if array is None or array.shape != row.shape or array.dtype != row.dtype:
            raise ValueError(
                f"{str(path)!r} contradicts itself: its manifest has {row.path!r} as {row.dtype}{row.shape} at "
                f"{row.location!r}, and the file has {array and (array.dtype, array.shape)} there."
            )
        *chain, leaf = row.path.split("/")
        index = int(row.location.rsplit("/", 1)[1]) if row.location.rsplit("/", 1)[1].isdecimal() else None
        entries.append(Entry(tuple(chain), leaf, row.shape, row.dtype, row.location, row.checksum, index))
    extra = arrays.keys() - {row.location for row in record.manifest}
    doubled = (
        len(arrays) + len(record.manifest) - 2 * len({row.location for row in record.manifest}) - len(extra)
    )
    if extra or doubled or len({row.path for row in record.manifest}) != len(record.manifest):
        raise ValueError(
            f"{str(path)!r} contradicts itself: its manifest does not list its arrays one by one."
        )
    return tuple(entries)
