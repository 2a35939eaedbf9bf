"""What a weights file says of itself: one JSON text in the attribute "tftransfer" of its root."""

import datetime
import hashlib
import importlib.metadata
import json
import platform
from dataclasses import asdict, dataclass, field

import keras
import numpy as np

from tftransfer.weights.hdf5 import text_attribute

ATTRIBUTE = "tftransfer"
CHECKSUM = "tftransfer_checksum"
FORMAT = 1


@dataclass(frozen=True)
class Row:
    """One variable in the manifest."""

    path: str  # "trunk/block_00_attention/query/kernel"
    location: str  # "layers/functional_1/layers/multi_head_attention/query_dense/vars/0"
    shape: tuple
    dtype: str
    checksum: str

    @property
    def parameters(self):
        """Number of values."""
        return int(np.prod(self.shape, dtype="int64"))


@dataclass(frozen=True)
class Record:
    """All that the file knows besides the numbers."""

    name: str
    backbone: dict | None  # what keras.saving.serialize_keras_object gives, or None where it gave nothing
    manifest: tuple
    preprocessing: dict | None = None
    objective: dict | None = None
    history: dict | None = None
    seed: int | None = None
    versions: dict = field(default_factory=dict)
    created: str = ""
    format: int = FORMAT


def checksum(value):
    """Sixteen hexadecimal digits that stand for an array's type, shape and bytes."""
    value = np.asarray(value)
    digest = hashlib.blake2b(f"{value.dtype.name} {value.shape}".encode(), digest_size=8)
    digest.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8))
    return digest.hexdigest()


def versions():
    """Versions of what a saved file depends on."""
    found = {"keras": keras.__version__, "backend": keras.backend.backend(), "numpy": np.__version__}
    found["python"] = platform.python_version()
    packages = {"tensorflow": ("tensorflow", "tensorflow-cpu", "tensorflow-tpu"), "jax": ("jax",)}
    for name, distributions in {**packages, "h5py": ("h5py",), "tftransfer": ("tftransfer",)}.items():
        for distribution in distributions:
            try:
                found[name] = importlib.metadata.version(distribution)
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return found


def now():
    """The time in UTC, to the second, as ISO 8601 writes it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def plain(value, where):
    """The value as JSON has it; ValueError naming `where` when it holds something that JSON has not."""
    try:
        return json.loads(json.dumps(value, default=_plain))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{where} cannot be kept in a weights file: {error}. Use numbers, texts, lists and dicts of them."
        ) from error


def write_record(file, record):
    """Puts the record into an open h5py file."""
    text = json.dumps({**asdict(record), "manifest": [asdict(row) for row in record.manifest]})
    file.attrs[ATTRIBUTE] = text
    file.attrs[CHECKSUM] = _digest(text)


def read_record(file, where):
    """The record of an open h5py file, or None where there is none.

    Raises:
        ValueError: the record is damaged, of a later format, or not what a record is.
    """
    text = text_attribute(file, ATTRIBUTE)
    if text is None:
        return None
    where = f"The record in {where}"
    if text_attribute(file, CHECKSUM, 16) != _digest(text):
        raise ValueError(
            f"{where} is damaged: its checksum differs. Copy the file again from where it was written."
        )
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not JSON: {error}.") from error
    return _checked(found, where)


def _checked(found, where):
    if not isinstance(found, dict) or not isinstance(found.get("format"), int):
        raise ValueError(f"{where} is not a record of tftransfer.")
    if found["format"] > FORMAT:
        raise ValueError(
            f"{where} has format {found['format']}; this tftransfer reads up to {FORMAT}: upgrade it."
        )
    try:
        rows = tuple(Row(**{**row, "shape": tuple(row["shape"])}) for row in found.pop("manifest"))
        record = Record(manifest=rows, **found)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{where} has missing or unknown parts: {error}.") from error
    for row in rows:
        texts = all(isinstance(x, str) for x in (row.path, row.location, row.dtype, row.checksum))
        if not texts or not all(type(n) is int and n >= 0 for n in row.shape):
            raise ValueError(f"{where} has a wrong line in its manifest: {str(row)[:200]}.")
    dicts = {"backbone", "preprocessing", "objective", "history"}
    for key, value in asdict(record).items():
        right = (dict, type(None)) if key in dicts else {"versions": dict, "seed": (int, type(None))}.get(key)
        if right is not None and not isinstance(value, right):
            raise ValueError(f"{where} is wrong in {key!r}: {str(value)[:80]!r}.")
    if not all(isinstance(x, str) for x in (record.name, record.created)):
        raise ValueError(f"{where} is wrong in 'name' or 'created'.")
    return record


def _digest(text):
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _plain(value):
    if isinstance(value, np.generic):
        return value.item()
    if hasattr(value, "__array__"):
        return np.asarray(value).tolist()
    raise TypeError(f"{type(value).__name__} {str(value)[:80]!r}")
