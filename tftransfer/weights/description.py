"""describe: what a weights file holds, without building a model or reading its numbers."""

import html
import os
from pathlib import Path

from tftransfer.weights.receipt import aligned
from tftransfer.weights.sources import open_source


def describe(path):
    """Says what a weights file holds: backbone, input, variables, objective, history, versions.

    Works on the files of `save_backbone` and `pretrain`, which describe themselves, and on what plain Keras
    writes (`.weights.h5`, `.keras`, and the older `.h5`), of which only names, shapes and sizes can be said.

    Args:
        path: the file.

    Returns:
        A `Description`: print it for a table; a notebook shows it by itself.

    Raises:
        OSError: the file is missing or must not be read.
        ValueError: it is not a weights file, is damaged, or is refused as unsafe.

    Example:

    >>> import keras, tempfile
    >>> from tftransfer.weights import save_backbone
    >>> backbone = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d")], name="encoder")
    >>> path = save_backbone(backbone, tempfile.mkdtemp() + "/encoder.weights.h5", preprocessing={"size": 4})
    >>> description = describe(path)
    >>> description.name, description.parameters, description.preprocessing
    ('encoder', 15, {'size': 4})
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ValueError(f"describe takes the path of a file, received {path!r}.")
    with open_source(path) as source:
        return Description(Path(path), source)


class Description:
    """What `describe` found; every part is an attribute.

    Attributes:
        path: the file. `size`: its bytes. `kind`: what sort of file it is, in words.
        self_describing: whether `load_backbone` can rebuild a model from it.
        variables: one entry for each, with `path`, `shape`, `dtype`, `location`, `checksum` (None without a
        record). parameters: how many numbers the variables have. record: the `Record`, or None. Its parts are
        here too, None where unknown: `name`, `backbone` (the config),
            `preprocessing`, `objective`, `history`, `seed`, `versions`, `created`.
    """

    def __init__(self, path, source):
        self.path = path
        self.size = os.path.getsize(path)
        self.kind = source.kind
        self.record = record = source.record
        self.variables = source.entries
        self.parameters = sum(entry.parameters for entry in source.entries)
        self.self_describing = record is not None and record.backbone is not None
        for name in (
            "name",
            "backbone",
            "preprocessing",
            "objective",
            "history",
            "seed",
            "versions",
            "created",
        ):
            setattr(self, name, getattr(record, name, None))

    @property
    def input_shape(self):
        """Shape of the input without the batch, where the config says it."""
        layers = ((self.backbone or {}).get("config") or {}).get("layers") or [{}]
        shape = (layers[0].get("config") or {}).get("batch_shape") if isinstance(layers[0], dict) else None
        return tuple(shape[1:]) if isinstance(shape, list) else None

    def _rows(self):
        yield "file", f"{self.path} ({self.size:,} bytes)"
        yield "kind", self.kind + ("" if self.self_describing else ", not self-describing")
        if self.record is not None:
            config = self.backbone or {}
            yield "backbone", f"{self.name} ({config.get('class_name', 'no config: it cannot be rebuilt')})"
            yield "input", str(self.input_shape)
            yield "preprocessing", str(self.preprocessing)
            yield "objective", str((self.objective or {}).get("name"))
            rate = (self.objective or {}).get("learning_rate")
            yield "learning rate", f"{rate:.4g}" if isinstance(rate, float) else str(rate)
            yield "history", _history(self.history)
            yield "seed", str(self.seed)
            yield "versions", ", ".join(f"{name} {version}" for name, version in self.versions.items())
            yield "created", self.created
        yield "variables", f"{len(self.variables)} with {self.parameters:,} parameters"

    def __str__(self):
        lines = aligned(list(self._rows()))
        rows = [(entry.path, str(entry.shape), entry.dtype) for entry in self.variables]
        return "\n".join([*lines, "", *aligned([("variable", "shape", "type"), *rows])])

    __repr__ = __str__

    def _repr_html_(self):
        def table(rows):
            cells = ("".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) for row in rows)
            return "<table>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>"

        variables = table((entry.path, entry.shape, entry.dtype) for entry in self.variables)
        return f"{table(self._rows())}<details><summary>variables</summary>{variables}</details>"


def _history(history):
    if not history:
        return "none"
    last = {name: values[-1] for name, values in history.items() if isinstance(values, list) and values}
    epochs = max((len(values) for values in history.values() if isinstance(values, list)), default=0)
    figures = ", ".join(f"{n} {v:.4g}" if isinstance(v, float) else f"{n} {v}" for n, v in last.items())
    return f"{epochs} epochs; at the end {figures}"
