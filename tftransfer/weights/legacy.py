"""Reading the HDF5 of Keras 2 and of `model.save("x.h5")`: by the names in it, never by Keras's own loader.

That loader goes by position, and in a nested model with a frozen layer the positions are wrong (keras issue
10777). The model's config, which may carry code, is not looked at.
"""

import re

import h5py

from tftransfer.weights.hdf5 import reading


def legacy_group(file):
    """The group that holds the layers, or None when the file is not of this kind."""
    for group in (file.get("model_weights", file), file):
        if isinstance(group, h5py.Group) and ("layer_names" in group.attrs or "layer_names0" in group.attrs):
            return group
    return None


def legacy_keys(file, arrays, where):
    """location -> (names of the layers, name of the variable, number in its layer), in the file's order."""
    with reading(where):
        group = legacy_group(file)
        prefix = group.name.strip("/") + "/" if group.name != "/" else ""
        layers = _texts(group, "layer_names", where)
        keys = {}
        for layer in [*layers, "top_level_model_weights"]:
            if layer not in group:
                continue
            counts = {}
            for weight in _texts(group[layer], "weight_names", where):
                location = f"{prefix}{layer}/{weight}"
                if location not in arrays:
                    raise ValueError(
                        f"{where} names the weight {weight!r} of {layer!r}, and does not have it."
                    )
                chain, name = _key(layer, weight)
                keys[location] = (chain, name, counts.setdefault(chain, 0))
                counts[chain] += 1
        return keys


def _key(layer, weight):
    """`("att", "att/query/kernel:0")` → `(("att", "query"), "kernel")`."""
    *scopes, name = re.sub(r":\d+$", "", weight).split("/")
    if layer == "top_level_model_weights":
        return tuple(scopes), name
    if layer in scopes:
        scopes = scopes[scopes.index(layer) + 1 :]
    return (layer, *scopes), name


def _texts(group, name, where):
    """A list of texts; long ones are split into name0, name1, ..., since an HDF5 attribute holds 64 KiB."""
    names = [name] if name in group.attrs else []
    while not names or names[-1] != name:
        following = f"{name}{len(names)}"
        if following not in group.attrs:
            break
        names.append(following)
    texts = []
    for part in names:
        attribute = group.attrs.get_id(part)
        is_empty = attribute.shape == (0,)  # an empty list has the type of floats
        if len(attribute.shape) != 1 or (h5py.check_string_dtype(attribute.dtype) is None and not is_empty):
            raise ValueError(
                f"{where} is refused: the attribute {part!r} of {group.name!r} is not a list of texts."
            )
        values = [] if is_empty else group.attrs[part]
        texts += [value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in values]
    return texts
