"""Reading `.safetensors`, the format of Hugging Face: a JSON header and plain bytes; nothing in it can run."""

import json
import math
import os
from pathlib import Path

import ml_dtypes
import numpy as np

__all__ = ["read_tensor", "tensors_of"]

_HEADER = 100_000_000  # bytes, the limit of the format's own reader
_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


def tensors_of(folder):
    """`{name: (file, dtype, shape, first byte)}` of `model.safetensors` in a folder, or of the files of its index.

    Raises:
        OSError: there is no such file.
        ValueError: a file is damaged, or holds types that are not read here.
    """
    folder = Path(folder)
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return _header(folder / "model.safetensors")
    try:
        files = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{str(index)!r} is no index of safetensors files: {error}.") from error
    found = {}
    for name in files:
        if not isinstance(name, str) or Path(name).name != name:
            raise ValueError(f"{str(index)!r} names a file outside of its folder: {name!r}.")
        found |= _header(folder / name)
    return found


def read_tensor(tensor):
    """One of the tensors that `tensors_of` found, as a NumPy array."""
    path, dtype, shape, first = tensor
    with open(path, "rb") as file:
        file.seek(first)
        values = np.fromfile(file, dtype, math.prod(shape))
    return values.reshape(shape)


def _header(path):
    where, size = repr(str(path)), os.path.getsize(path)
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or not 2 <= length <= min(size - 8, _HEADER):
            raise ValueError(
                f"{where} is no safetensors file, or is damaged: its header would have {length} bytes."
            )
        text = file.read(length)
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        found = {name: _tensor(path, name, entry, 8 + length) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{where} is no safetensors file, or is damaged: {error}.") from error
    for name, (_, dtype, shape, first) in found.items():
        if first + math.prod(shape) * np.dtype(dtype).itemsize > size:
            raise ValueError(f"{where} is damaged: it ends before {name!r} does. Copy it again.")
    return found


def _tensor(path, name, entry, base):
    dtype, shape, (first, last) = _DTYPES.get(entry["dtype"]), tuple(entry["shape"]), entry["data_offsets"]
    if dtype is None:
        raise ValueError(f"{name!r} has the type {entry['dtype']}, which is not read here")
    if not all(type(n) is int and n >= 0 for n in (*shape, first, last)):
        raise ValueError(f"{name!r} has the shape {shape} at {first} to {last}")
    if last - first != math.prod(shape) * np.dtype(dtype).itemsize:
        raise ValueError(f"{name!r} has {last - first} bytes for the shape {shape}")
    return path, dtype, shape, base + first
