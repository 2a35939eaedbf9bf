"""The frozen beginning of a backbone: where it ends, and the two models that it falls into there."""

import keras

from tftransfer.layers import cut_tensors, functional

__all__ = ["split", "why_it_ends", "why_it_moves"]


def split(backbone, *, drawn=False):
    """Cuts a backbone behind its frozen beginning, as its `trainable` flags now stand.

    The cut lies where one tensor carries everything on, as far up as everything before it stands still;
    nested functional and Sequential models are opened. All layers are shared with the backbone, and the two
    halves one after the other compute, bit for bit, what it does.

    Args:
        backbone: a functional or Sequential `keras.Model`.
        drawn: True where layers that draw random numbers count as standing still, since several draws of what
            they make will be kept.

    Returns:
        `(before, behind)`: lists of models and layers to be called one after the other. `before` is empty
        where nothing with weights stands still, `behind` where all does.

    Example:

    >>> dense = [keras.layers.Dense(4, name=name) for name in "abc"]
    >>> model = keras.Sequential([keras.Input((4,)), *dense])
    >>> dense[0].trainable = False
    >>> before, behind = split(model)
    >>> [len(part.weights) for part in before], [len(part.weights) for part in behind]
    ([2], [4])
    """
    return _parts(backbone, lambda layer: why_it_moves(layer, drawn=drawn) is None)


def why_it_ends(backbone, *, drawn=False):
    """In words, why what `split` cuts off is less than what is not trained; None where it is all of that.

    Args:
        backbone: a functional or Sequential `keras.Model`.
        drawn: see `split`.
    """
    untrained, _ = _parts(backbone, lambda layer: not any(v.trainable for v in layer.weights))
    reasons = (why_it_moves(part, drawn=drawn) for part in untrained)
    return next((reason for reason in reasons if reason is not None), None)


def _parts(backbone, still):
    if still(backbone):
        return [backbone], []
    before, behind = _split(backbone, still)
    return (before, behind) if any(part.weights for part in before) else ([], [backbone])


def _split(layer, still):
    model = functional(layer)
    if model is None:
        return [], [layer]
    source, start, before = model.inputs[0], model.inputs[0], []
    cuts = cut_tensors(model)
    for layers, tensor in cuts:
        if not all(map(still, layers)):
            break
        start = tensor
    else:
        return [model], []
    if start is not source:
        before = [keras.Model(source, start)]
    inner = [layer for layer in layers if layer.weights]
    if len(layers) == len(inner) == 1 and isinstance(inner[0], keras.Model):  # open what moves in part
        first, rest = _split(inner[0], still)
        if first:
            ends = tensor is model.outputs[0]
            return before + first, rest if ends else [*rest, keras.Model(tensor, model.outputs[0])]
    return before, [keras.Model(start, model.outputs[0])]


def why_it_moves(layer, *, drawn=False):
    """In words, why a layer does not compute the same for an example in every epoch; None where it does.

    It does where no variable is trained, no BatchNormalization is live, and nothing draws random numbers.

    Args:
        layer: a layer or model.
        drawn: see `split`.
    """
    if any(
        variable.trainable for variable in layer.weights
    ):  # a BatchNormalization's, even where its flag is off
        return f"{layer.name} is trained"
    idle = sum(len(part._seed_generators) for part in layer._flatten_layers() if _never_draws(part))
    if (
        not drawn and len(layer.variables) > len(layer.weights) + idle
    ):  # the states of random number generators
        inner = [p for p in layer._flatten_layers() if p._seed_generators and not _never_draws(p)]
        name = inner[-1].name if inner else layer.name
        return f"{name} draws random numbers (dropout or augmentation)"
    for inner in layer._flatten_layers():
        if isinstance(inner, keras.layers.BatchNormalization) and inner.trainable:
            return f"the BatchNormalization {inner.name} is live"
    return None


def _never_draws(layer):
    """Whether a layer has a generator and no use for it: a recurrent one, or its cell, without dropout."""
    return hasattr(layer, "recurrent_dropout") and not layer.dropout and not layer.recurrent_dropout
