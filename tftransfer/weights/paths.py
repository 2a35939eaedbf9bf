"""Where each variable of a model lives: the chain of layer names, then the variable's own name."""

from dataclasses import dataclass

import keras


@dataclass(frozen=True)
class Slot:
    """One variable of a live model: its place in the model and in the layer's part of a weights file."""

    path: str  # "trunk/block_00_attention/query/kernel"
    chain: tuple  # ("trunk", "block_00_attention", "query")
    index: (
        int | None
    )  # n in ".../vars/n" of a Keras file; None where Keras does not store the variable itself
    layer: keras.layers.Layer
    variable: keras.Variable

    @property
    def name(self):
        return self.path.rsplit("/", 1)[-1]


def variable_paths(model):
    """The model's variables by path: names of the layers from the outside in, then the variable's name.

    Use it wherever a variable must be named: in a regular expression of a policy, in a report, in a file.
    Keras's own `variable.path` is neither unique nor stable (layers of a nested model lose its name, and
    loading a model changes it); these paths are both, they do not hold the model's own name, and they are the
    ones in a weights file's manifest. Random state (seed generators), metrics and optimizers are not weights
    and do not take part. A layer that is used in several places is named where it stands first.

    Args:
        model: a built `keras.Model` or layer.

    Returns:
        An ordered dict, path -> `keras.Variable`.

    Raises:
        ValueError: the model is not a Keras model or layer, or is not built yet.

    Example:

    >>> import keras
    >>> trunk = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="first")], name="trunk")
    >>> model = keras.Sequential([trunk, keras.layers.Dense(2, name="head")])
    >>> list(variable_paths(model))
    ['trunk/first/kernel', 'trunk/first/bias', 'head/kernel', 'head/bias']
    """
    return {slot.path: slot.variable for slot in slots(model)}


def slots(model):
    """The `Slot` of each variable of a built model, in the model's own order."""
    if not isinstance(model, keras.layers.Layer):
        raise ValueError(f"Expected a keras.Model or a keras layer, received {model!r}.")
    if not model.built:
        raise ValueError(
            f"The model {model.name!r} is not built, so it has no variables yet. Give it a `keras.Input`, or "
            "call it once on a batch, before its weights are saved, loaded or named."
        )
    return list(_walk(model, (), set(), set()))


def _walk(layer, chain, seen_layers, seen_variables):
    seen_layers.add(id(layer))
    indices = _file_indices(layer)
    taken = set()
    for variable in [*layer._trainable_variables, *layer._non_trainable_variables]:
        if id(variable) in seen_variables:
            continue
        seen_variables.add(id(variable))
        path = "/".join([*chain, _unique(variable.name, taken)])
        yield Slot(path, chain, indices.get(id(variable)), layer, variable)
    taken = set()
    for child in layer._flatten_layers(include_self=False, recursive=False):
        if id(child) not in seen_layers:
            yield from _walk(child, (*chain, _unique(child.name, taken)), seen_layers, seen_variables)


def _unique(name, taken):
    """The name, or name:2, name:3 ... for later siblings of that name, which custom layers may have."""
    candidate, count = name, 1
    while candidate in taken:
        count += 1
        candidate = f"{name}:{count}"
    taken.add(candidate)
    return candidate


def _file_indices(layer):
    """id of a variable -> n of `vars/n`, as the layer's own saving hook has it."""
    if not layer.built:
        return {}
    store = {}
    layer.save_own_variables(store)
    return {id(value): int(key) for key, value in store.items() if str(key).isdecimal()}
