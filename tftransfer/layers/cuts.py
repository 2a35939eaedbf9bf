"""Functional models: which layers are some, and where one may be cut in two."""

import keras

__all__ = ["cut_tensors", "functional"]


def functional(layer):
    """The functional model of one input and one output that a layer is.

    Args:
        layer: any layer or model.

    Returns:
        The layer itself, or what a built Sequential one stands for, on the same layers; None where it is no such model.

    Example:

    >>> functional(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")])).layers[1].name
    'dense'
    >>> functional(keras.layers.Dense(2)) is None
    True
    """
    inputs, outputs = (getattr(layer, ends, None) or () for ends in ("inputs", "outputs"))
    if not isinstance(layer, keras.Model) or not len(inputs) == len(outputs) == 1:
        return None
    if isinstance(layer, keras.Sequential):
        return keras.Model(inputs[0], outputs[0])
    return layer if hasattr(layer, "_nodes_by_depth") else None


def cut_tensors(model, *, integers=True):
    """Where only one tensor of a functional model is alive.

    Args:
        model: a functional model.
        integers: whether tensors of whole numbers count, such as the documents of a text's tokens, which every block
            reads.

    Returns:
        A list of `(layers, tensor)`: the layers since the cut before, and the tensor that is the cut. The
        last is the model's output.

    Example:

    >>> inputs = keras.Input((4,))
    >>> x = keras.layers.Dense(4, name="before")(inputs)
    >>> model = keras.Model(inputs, keras.layers.Add(name="sum")([x, keras.layers.Dense(4, name="beside")(x)]))
    >>> [[layer.name for layer in layers][-2:] for layers, _ in cut_tensors(model)][1:]
    [['before'], ['beside', 'sum']]
    """
    depths = sorted(model._nodes_by_depth, reverse=True)
    nodes = [node for depth in depths for node in model._nodes_by_depth[depth]]
    uses = {}  # id of a tensor -> how many nodes still read it
    for tensor in [t for node in nodes for t in node.input_tensors] + list(model.outputs):
        uses[id(tensor)] = uses.get(id(tensor), 0) + 1
    alive, run, cuts, seen = {}, [], [], set()
    for node in nodes:
        for tensor in node.input_tensors:
            uses[id(tensor)] -= 1
            if not uses[id(tensor)]:
                alive.pop(id(tensor), None)
        made = [t for t in node.output_tensors if integers or "float" in str(t.dtype)]
        alive.update({id(tensor): tensor for tensor in made if uses.get(id(tensor))})
        layer = node.operation
        if isinstance(layer, keras.layers.Layer) and id(layer) not in seen:
            seen.add(id(layer))  # a layer used in several places counts where it stands first
            run.append(layer)
        if len(alive) == 1:
            cuts.append((run, next(iter(alive.values()))))
            run = []
    return cuts
