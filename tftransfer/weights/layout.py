"""How Keras 3 lays out a weights file: groups of layers, `vars` in each, with the layer's name."""

import re
import tempfile
from pathlib import Path

import h5py
import keras

from tftransfer.weights.hdf5 import stored_arrays, text_attribute
from tftransfer.weights.paths import slots

# Top-level groups of a compiled model's file that hold state of training, not weights.
TRAINING_STATE = {"optimizer", "_optimizer", "metrics", "_metrics", "compile_metrics", "_compile_metrics"}


def is_weight(location):
    """Whether an array of a Keras weights file is a weight, by its place."""
    parts = location.split("/")
    return (
        parts[0] not in TRAINING_STATE and len(parts) >= 2 and parts[-2] == "vars" and parts[-1].isdecimal()
    )


def key_of(file, location):
    """Names of the layers from the outside in (None where the file has none), and the number in the last one.

    `layers/functional/layers/dense/vars/0` gives `(("trunk", "first"), 0)`. The name of the model itself, in
    the root's `vars`, is left out. Keras before 3.6 wrote no names.
    """
    *groups, _, index = location.split("/")
    names, node = [], file
    for group in groups:
        node = node[group]
        own = node["vars"] if "vars" in node else None
        if not isinstance(own, h5py.Group):
            continue
        name = text_attribute(own, "name", 10_000)
        if name is None:
            return None, int(index)
        names.append(name)
    return tuple(names), int(index)


def locations(model):
    """place -> path: where the installed Keras would write each variable of the model.

    Found by letting Keras write the model to a temporary file. Places are compared by `place`.
    """
    if not isinstance(model, keras.Model):
        raise ValueError(f"By order weights go into a keras.Model; received the layer {model.name!r}.")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.weights.h5"
        model.save_weights(path)
        with h5py.File(path, "r") as file:
            for location in filter(is_weight, stored_arrays(file, "the model")):
                found.setdefault(key_of(file, location), []).append(location)
    places = {}
    for slot in slots(model):
        waiting = found.get((names_in_file(slot.chain), slot.index))
        if waiting:
            places[place(waiting.pop(0))] = slot.path
    return places


def names_in_file(chain):
    """Names of layers as files have them: without the `:2` that tells siblings of one name apart."""
    return tuple(re.sub(r":\d+$", "", name) for name in chain)


def place(location):
    """A location without what differs between versions: Keras 2 wrote `_query_dense` for `query_dense`."""
    return "/".join(part.lstrip("_") for part in location.split("/"))
