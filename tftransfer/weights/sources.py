"""Where weights come from: the files that Keras and we write, and models in memory, all seen in one way."""

import contextlib
import math
import os
import shutil
import tempfile
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import keras

from tftransfer.weights.hdf5 import check_start, open_file, read_array, reading, stored_arrays
from tftransfer.weights.layout import is_weight, key_of
from tftransfer.weights.legacy import legacy_group, legacy_keys
from tftransfer.weights.paths import slots
from tftransfer.weights.probe import probe
from tftransfer.weights.record import checksum, read_record
from tftransfer.weights.seal import check_seal, known

_MEMBER = "model.weights.h5"
_ZIP_EXPANSION = 10  # Keras packs nothing; what was repacked shrinks a little


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
    """An open source: its entries, and how to read one."""

    kind: str
    name: str
    entries: tuple
    read: object = field(repr=False)  # Entry -> NumPy array, its checksum verified
    record: object = None
    layout: str = "ordered"  # "keras": locations mean something; "legacy": the order may not

    @property
    def has_names(self):
        """Whether the layers of the source have names."""
        return all(entry.chain is not None for entry in self.entries)


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
    where = repr(str(path))
    with contextlib.ExitStack() as stack:
        kind = "weights file of Keras"
        if path.suffix == ".keras":
            kind = "model archive of Keras"
            path = _unzip(path, where, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        check_start(path, where)
        seal = check_seal(path, where)
        if seal not in known:
            probe(path, where)
            known.update({seal} - {None})
        yield _file(stack.enter_context(open_file(path, where)), where, kind)


def _model(model):
    found = slots(model)
    variables = {slot.path: slot.variable for slot in found}
    entries = tuple(
        Entry(s.chain, s.name, tuple(s.variable.shape), s.variable.dtype, s.path, index=s.index)
        for s in found
    )

    def read(entry):
        return keras.ops.convert_to_numpy(variables[entry.location])

    return Source("model in memory", f"the model {model.name!r}", entries, read)


def _file(file, where, kind):
    arrays = stored_arrays(file, where)
    with reading(where):
        record = read_record(file, where)
        layout = "legacy" if legacy_group(file) is not None else "keras"
        if record is not None:
            kind, entries = f"weights file of tftransfer (format {record.format})", ()
        elif layout == "legacy":
            kind = "HDF5 file of Keras 2 or the older format"
            keys = legacy_keys(file, arrays, where)
            found = ((arrays[location], key) for location, key in keys.items())
            entries = tuple(
                Entry(chain, leaf, a.shape, a.dtype, a.location, index=n) for a, (chain, leaf, n) in found
            )
        else:
            found = ((a, *key_of(file, a.location)) for a in arrays.values() if is_weight(a.location))
            entries = tuple(
                Entry(chain, str(n), a.shape, a.dtype, a.location, index=n) for a, chain, n in found
            )
    if record is not None:
        entries = _from_manifest(where, arrays, record)
    if not entries:
        raise ValueError(f"{where} holds no weights of a Keras model.")

    def read(entry):
        value = read_array(file, arrays[entry.location], where)
        if entry.checksum is not None and checksum(value) != entry.checksum:
            raise ValueError(f"{where} is damaged: {entry.path!r} does not hold the values that were saved.")
        return value

    return Source(kind, where, entries, read, record, layout)


def _from_manifest(where, arrays, record):
    """Entries of a self-describing file; the manifest must list the file's weights one by one."""
    entries, listed = {}, set()
    for row in record.manifest:
        array = arrays.get(row.location)
        if (
            array is None
            or (array.shape, array.dtype) != (row.shape, row.dtype)
            or not is_weight(row.location)
        ):
            there = array and f"{array.dtype} {array.shape}"
            raise ValueError(
                f"{where} contradicts itself: its manifest has {row.path!r} as {row.dtype} {row.shape} at "
                f"{row.location!r}, and there is {there}."
            )
        *chain, leaf = row.path.split("/")
        index = int(row.location.rsplit("/", 1)[1])
        entry = Entry(tuple(chain), leaf, row.shape, row.dtype, row.location, row.checksum, index)
        # A variable that two layers own stands in the file twice, with the same values.
        same = entries.setdefault(row.path, entry)
        if row.location in listed or (same.checksum, same.shape) != (row.checksum, row.shape):
            raise ValueError(f"{where} contradicts itself: its manifest has {row.path!r} twice.")
        listed.add(row.location)
    if listed != set(filter(is_weight, arrays)):
        raise ValueError(f"{where} contradicts itself: its manifest does not list its weights one by one.")
    return tuple(entries.values())


def _unzip(path, where, folder):
    """Unpacks the weights of a `.keras` archive; nothing else in it is looked at."""
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            if _MEMBER not in archive.namelist():
                raise ValueError(
                    f"{where} has no {_MEMBER} in it: it is no Keras model, or its weights are an npz."
                )
            info = archive.getinfo(_MEMBER)
            if info.file_size > _ZIP_EXPANSION * info.compress_size + (1 << 26):
                raise ValueError(
                    f"{where} is refused: {info.compress_size} bytes unpack to {info.file_size}."
                )
            with archive.open(info) as member, open(folder / _MEMBER, "wb") as target:
                shutil.copyfileobj(member, target)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, KeyError) as error:
        raise ValueError(f"{where} is not a Keras model archive, or is damaged: {error}.") from error
    return folder / _MEMBER
