"""Reading HDF5 that others wrote: everything is checked before it is used, and nothing outside the file is touched."""

import contextlib
import math
import os
from dataclasses import dataclass
from pathlib import Path

import h5py
import ml_dtypes
import numpy as np

from tftransfer.weights.seal import check_seal

_DEPTH = 64  # of groups in groups
_PLAIN_FILTERS = {
    h5py.h5z.FILTER_DEFLATE,
    h5py.h5z.FILTER_SHUFFLE,
    h5py.h5z.FILTER_FLETCHER32,
    h5py.h5z.FILTER_LZF,
}
_EXPANSION = 1100  # deflate packs no better than 1032 : 1


@dataclass(frozen=True)
class Stored:
    """One array of a file, not read yet."""

    location: str  # "layers/dense/vars/0"
    shape: tuple
    dtype: str  # a NumPy name, or "bfloat16"


@contextlib.contextmanager
def open_file(path):
    """Opens a file to read; whatever HDF5 finds wrong with it, then or later, is a ValueError that names the file.

    Raises:
        OSError: the file is missing or must not be read.
        ValueError: it is no HDF5 file, or damaged.
    """
    path = Path(path)
    with open(
        path, "rb"
    ) as file:  # FileNotFoundError, PermissionError, IsADirectoryError speak for themselves
        if os.fstat(file.fileno()).st_size == 0:
            raise ValueError(f"{str(path)!r} is empty: it holds no weights.")
    check_seal(path)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except ValueError:
        raise
    except (
        OSError,
        RuntimeError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        kind = "is damaged or truncated" if _looks_like_hdf5(path) else "is not an HDF5 file"
        raise ValueError(f"{str(path)!r} {kind}, and cannot be read as weights: {error}.") from error


def stored_arrays(file):
    """All arrays of an open file by location, after checking that each lies in the file, whole, and once.

    Raises:
        ValueError: links that leave the file or form loops, data kept elsewhere, arrays larger than the file
        can
            hold, or of a type that weights do not have.
    """
    size = os.path.getsize(file.filename)
    found, seen, todo = {}, {_address(file["/"])}, [("", file["/"], 0)]
    while todo:
        prefix, group, depth = todo.pop()
        if depth > _DEPTH:
            raise ValueError(
                f"{file.filename!r} is refused: groups are nested deeper than {_DEPTH} at {prefix!r}."
            )
        for name in sorted(group, reverse=True):
            location = f"{prefix}{name}"
            child = _child(file, group, name, location)
            if _address(child) in seen:
                raise ValueError(
                    f"{file.filename!r} is refused: {location!r} leads back to another place in the file."
                )
            seen.add(_address(child))
            if isinstance(child, h5py.Group):
                todo.append((f"{location}/", child, depth + 1))
            else:
                found[location] = _checked(file, child, location, size)
    return dict(sorted(found.items(), key=lambda item: natural(item[0])))


def read_array(file, stored):
    """The array as NumPy has it; bfloat16 by `ml_dtypes`."""
    value = np.asarray(file[stored.location][()])
    return value.view(ml_dtypes.bfloat16) if stored.dtype == "bfloat16" else value


def text_attribute(node, name, limit=1 << 26):
    """A text attribute, or None where there is none; ValueError when it is something else or too long."""
    if name not in node.attrs:
        return None
    attribute = node.attrs.get_id(name)
    if attribute.shape != () or h5py.check_string_dtype(attribute.dtype) is None:
        raise ValueError(
            f"{node.file.filename!r} is refused: the attribute {name!r} of {node.name!r} is not a text."
        )
    value = node.attrs[name]
    text = value.decode("utf-8", "strict") if isinstance(value, bytes) else str(value)
    if len(text) > limit:
        raise ValueError(
            f"{node.file.filename!r} is refused: the attribute {name!r} has {len(text)} characters."
        )
    return text


def natural(location):
    """Sort key that puts dense_2 before dense_10."""
    parts = []
    for part in location.split("/"):
        base, _, number = part.rpartition("_")
        is_ordinal = number.isdecimal() and base
        parts.append(
            (base, int(number)) if is_ordinal else ("", int(part)) if part.isdecimal() else (part, 0)
        )
    return parts


def _child(file, group, name, location):
    link = group.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        raise ValueError(
            f"{file.filename!r} is refused: {location!r} is a {type(link).__name__}, which may lead out of the file."
        )
    child = group[name]
    if not isinstance(child, (h5py.Group, h5py.Dataset)):
        raise ValueError(f"{file.filename!r} is refused: {location!r} is neither a group nor an array.")
    return child


def _checked(file, dataset, location, size):
    refused = f"{file.filename!r} is refused: the array {location!r}"
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"{refused} keeps its data in other files.")
    dtype = _dtype(dataset)
    if dtype is None:
        raise ValueError(f"{refused} has the type {dataset.dtype}, which weights do not have.")
    if dataset.shape is None or len(dataset.shape) > 32:
        raise ValueError(f"{refused} has no shape that an array can have.")
    wanted = math.prod(dataset.shape) * dataset.dtype.itemsize
    held = dataset.id.get_storage_size()
    if held > size:
        raise ValueError(f"{refused} claims {held} bytes, and the file has {size}.")
    properties = dataset.id.get_create_plist()
    filters = {properties.get_filter(i)[0] for i in range(properties.get_nfilters())}
    if not filters <= _PLAIN_FILTERS:
        raise ValueError(f"{refused} is packed by a filter that needs foreign code.")
    packed = bool(filters & {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_LZF})
    if wanted > (held * _EXPANSION if packed else held):
        raise ValueError(
            f"{refused} claims the shape {dataset.shape}, and the file holds {held} bytes of it."
        )
    if dataset.chunks is not None and wanted:
        chunks = math.prod(math.ceil(n / c) for n, c in zip(dataset.shape, dataset.chunks, strict=True))
        if dataset.id.get_num_chunks() != chunks:
            raise ValueError(
                f"{refused} is not whole: {dataset.id.get_num_chunks()} of {chunks} parts are there."
            )
    return Stored(location, tuple(int(n) for n in dataset.shape), dtype)


def _dtype(dataset):
    if dataset.dtype.kind in "fiub":
        return dataset.dtype.name
    is_marked = dataset.dtype == np.dtype("V2") and text_attribute(dataset, "dtype", 16) == "bfloat16"
    return "bfloat16" if is_marked else None


def _address(node):
    return h5py.h5o.get_info(node.id).addr


def _looks_like_hdf5(path):
    with open(path, "rb") as file:
        return file.read(8) == b"\x89HDF\r\n\x1a\n"
