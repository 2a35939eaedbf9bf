"""How Keras lays out a weights file: groups of layers, a `vars` group in each, the layer's name as its attribute."""

import h5py

from tftransfer.weights.hdf5 import text_attribute

# Top-level groups of a compiled model's file that hold state of training, not weights.
TRAINING_STATE = {"optimizer", "_optimizer", "metrics", "_metrics", "compile_metrics", "_compile_metrics"}


def is_weight(location):
    """Whether an array of a Keras weights file is a weight, by its place."""
    parts = location.split("/")
    return parts[0] not in TRAINING_STATE and len(parts) >= 2 and parts[-2] == "vars"


def key_of(file, location):
    """Names of the layers from the outside in (None where the file has none), and the index in the last layer.

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
            return None, index
        names.append(name)
    return tuple(names), int(index) if index.isdecimal() else index
