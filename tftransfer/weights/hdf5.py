"""Reading HDF5 that others wrote: all is checked before it is used, nothing outside the file is touched.

This file imports nothing of tftransfer, so that `probe` can run it by itself in a process of its own.
"""

import contextlib
import math
import os
import sys
from dataclasses import dataclass

import h5py
import ml_dtypes
import numpy as np

_DEPTH = 64  # of groups in groups
_PACKING = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_LZF}
_FILTERS = _PACKING | {h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_EXPANSION, _EXPANSION_FLOOR = 100, 1 << 26  # weights do not pack a hundredfold, and small arrays do no harm
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# What h5py raises when a file is damaged. MemoryError: a damaged length.
_FAILURES = (
    OSError,
    RuntimeError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
    IndexError,
)


@dataclass(frozen=True)
class Stored:
    """One array of a file, not read yet."""

    location: str  # "layers/dense/vars/0"
    shape: tuple
    dtype: str  # a NumPy name, or "bfloat16"


def check_start(path, where):
    """Looks at the first bytes of a file, without HDF5.

    Raises:
        OSError: the file is missing or must not be read.
        ValueError: it is no HDF5 file, or shorter than it says.
    """
    with open(path, "rb") as file:  # its own errors (FileNotFoundError ...) speak for themselves
        start = file.read(48)
        size = os.fstat(file.fileno()).st_size
    if not start.startswith(_SIGNATURE):
        content = "is empty" if not start else "is not an HDF5 file"
        raise ValueError(
            f"{where} {content}: it holds no weights. Give a file that Keras or tftransfer wrote."
        )
    version = start[8] if len(start) == 48 else -1
    at = {0: (40, 13), 2: (28, 9), 3: (28, 9)}.get(version)  # where the length and the size of offsets stand
    if version == -1 or (at and start[at[1]] == 8):
        length = int.from_bytes(start[at[0] : at[0] + 8], "little") if at else 48
        if length > size:
            raise ValueError(f"{where} is truncated: {size} of its {length} bytes are there. Copy it again.")


@contextlib.contextmanager
def open_file(path, where):
    """Opens an HDF5 file to read; `where` is how messages name it. ValueError when it is damaged."""
    with reading(where):
        file = h5py.File(path, "r")
    try:
        yield file
    finally:
        with contextlib.suppress(*_FAILURES):
            file.close()


@contextlib.contextmanager
def reading(where):
    """Turns what h5py raises about a damaged file into a ValueError that names it."""
    try:
        yield
    except _FAILURES as error:
        raise ValueError(
            f"{where} is damaged or truncated, and cannot be read as weights: {error}."
        ) from error
    except ValueError as error:
        if where in str(error):
            raise
        raise ValueError(f"{where} is refused, since it is damaged or no weights file: {error}") from error


def stored_arrays(file, where):
    """All arrays of an open file by location, after checking that each lies in the file, whole, and once.

    Raises:
        ValueError: links that leave the file or form loops, data kept elsewhere, arrays larger than the file
        can
            hold, or of a type that weights do not have.
    """
    with reading(where):
        size = file.id.get_filesize()
        found, seen, todo = {}, {_address(file["/"])}, [("", file["/"], 0)]
        while todo:
            prefix, group, depth = todo.pop()
            if depth > _DEPTH:
                raise ValueError(f"{where} is refused: groups are nested deeper than {_DEPTH} at {prefix!r}.")
            for name in sorted(group, reverse=True):
                location = f"{prefix}{name}"
                child = _child(group, name, f"{where} is refused: {location!r}")
                if _address(child) in seen:
                    raise ValueError(f"{where} is refused: {location!r} leads back to another place.")
                seen.add(_address(child))
                if isinstance(child, h5py.Group):
                    todo.append((f"{location}/", child, depth + 1))
                else:
                    found[location] = _checked(
                        child, location, size, f"{where} is refused: the array {location!r}"
                    )
        return dict(sorted(found.items(), key=lambda item: natural(item[0])))


def read_array(file, stored, where):
    """The array as NumPy has it; bfloat16 by `ml_dtypes`."""
    with reading(where):
        value = np.asarray(file[stored.location][()])
        return value.view(ml_dtypes.bfloat16) if stored.dtype == "bfloat16" else value


def text_attribute(node, name, limit=1 << 26):
    """A text attribute, or None where there is none; ValueError when it is something else or too long."""
    if name not in node.attrs:
        return None
    attribute = node.attrs.get_id(name)
    if attribute.shape != () or h5py.check_string_dtype(attribute.dtype) is None:
        raise ValueError(f"the attribute {name!r} of {node.name!r} is not a text.")
    value = node.attrs[name]
    text = value.decode("utf-8") if isinstance(value, bytes) else str(value)
    if len(text) > limit:
        raise ValueError(f"the attribute {name!r} of {node.name!r} is too long.")
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


def _child(group, name, refused):
    link = group.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        raise ValueError(f"{refused} is a {type(link).__name__}, which may lead elsewhere.")
    child = group[name]
    if not isinstance(child, (h5py.Group, h5py.Dataset)):
        raise ValueError(f"{refused} is neither a group nor an array.")
    return child


def _checked(dataset, location, size, refused):
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"{refused} keeps its data in other files.")
    dtype = _dtype(dataset)
    if dtype is None:
        raise ValueError(f"{refused} has the type {dataset.dtype}, which weights do not have.")
    if dataset.shape is None:
        raise ValueError(f"{refused} has no shape.")
    wanted, held = math.prod(dataset.shape) * dataset.dtype.itemsize, dataset.id.get_storage_size()
    properties = dataset.id.get_create_plist()
    filters = {properties.get_filter(i)[0] for i in range(properties.get_nfilters())}
    if not filters <= _FILTERS:
        raise ValueError(f"{refused} is packed by a filter that needs foreign code.")
    limit = max(held * _EXPANSION, _EXPANSION_FLOOR) if filters & _PACKING else held
    if held > size or wanted > limit:
        raise ValueError(
            f"{refused} claims the shape {dataset.shape}; the file of {size} bytes holds {held} of it."
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


def _read_everything(path):
    """Reads all that can send the HDF5 library astray: structure, attributes, and packed arrays."""
    with contextlib.suppress(ImportError, ValueError):  # no such limits on Windows
        import resource

        limit = (8 << 30) + 4 * os.path.getsize(path)
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
    check_start(path, path)
    with open_file(path, path) as file, reading(path):
        arrays = stored_arrays(file, path)
        nodes = [file]
        file.visititems(lambda _, node: nodes.append(node))
        for node in nodes:
            _ = [node.attrs[name] for name in node.attrs]
        for stored in arrays.values():
            if file[stored.location].chunks is not None:
                read_array(file, stored, path)


if __name__ == "__main__":
    try:
        _read_everything(sys.argv[1])
    except ValueError as error:
        print(error)
        sys.exit(3)
