"""Adaptations for other classes and other vocabularies: what stands for the same thing keeps its numbers."""

import re

import numpy as np

from tftransfer.weights.receipt import as_numpy, listed


def head_rows(old, new, pattern=r"(^|/)head/"):
    """Keeps what a head knows of the classes that persist, wherever they stand in the new order.

    The column of the kernel and the entry of the bias of each class that both lists have are copied; those of
    new classes keep the values that the model has.

    Args:
        old, new: names of the classes, in the order of the source's and the model's outputs.
        pattern: regular expression of the paths of the head in the model.

    Returns:
        An adaptation for `transfer_weights(..., adapt=[...])`.

    Raises:
        ValueError: a list names a class twice, or the two have none in common.

    Example:

    >>> import keras
    >>> from tftransfer.weights import transfer_weights
    >>> old, new = (keras.Sequential([keras.Input((4,)), keras.layers.Dense(n, name="head")]) for n in (2, 3))
    >>> receipt = transfer_weights(old, new, adapt=[head_rows(["cat", "dog"], ["ant", "dog", "cat"])])
    >>> bool(keras.ops.all(old.weights[0][:, 1] == new.weights[0][:, 1]))
    True
    """
    return _persisting(old, new, pattern, "classes", axis=-1)


def token_embeddings(old, new, pattern=r"embeddings?(:\d+)?$"):
    """Keeps the embedding of each token that both vocabularies have.

    The rows of tokens that are new keep the values that the model has.

    Args:
        old, new: the tokens, in the order of the source's and the model's table.
        pattern: regular expression of the paths of the tables in the model.

    Returns:
        An adaptation for `transfer_weights(..., adapt=[...])`.

    Raises:
        ValueError: a vocabulary names a token twice, or the two have none in common.

    Example:

    >>> import keras
    >>> from tftransfer.weights import transfer_weights
    >>> old, new = (
    ...     keras.Sequential([keras.Input((5,)), keras.layers.Embedding(n, 4, name="tokens")]) for n in (2, 3)
    ... )
    >>> receipt = transfer_weights(old, new, adapt=[token_embeddings(["the", "cat"], ["a", "the", "cat"])])
    >>> print(receipt.of("adapted")[0].note)
    2 of 3 tokens kept
    """
    return _persisting(old, new, pattern, "tokens", axis=0)


def _persisting(old, new, pattern, what, axis):
    old, new = list(old), list(new)
    for names in (old, new):
        if len(set(names)) != len(names):
            twice = sorted({str(name) for name in names if names.count(name) > 1})
            raise ValueError(f"A list of {what} names some twice: {listed(twice)}.")
    position = {name: i for i, name in enumerate(old)}
    pairs = [(position[name], i) for i, name in enumerate(new) if name in position]
    if not pairs:
        raise ValueError(f"The old and the new {what} have none in common: {listed(old)}; {listed(new)}.")
    source, target = (list(side) for side in zip(*pairs, strict=True))

    def adapt(value, slot, slots):
        shape = tuple(slot.variable.shape)
        if not re.search(pattern, slot.path) or not shape or value.ndim != len(shape):
            return None
        rest = [n for n in range(len(shape)) if n != axis % len(shape)]
        fits = value.shape[axis] == len(old) and shape[axis] == len(new)
        if not fits or any(value.shape[n] != shape[n] for n in rest) or old == new:
            return None
        merged = np.moveaxis(np.array(as_numpy(slot.variable)), axis, 0)
        merged[target] = np.moveaxis(value, axis, 0)[source]
        return np.moveaxis(merged, 0, axis), f"{len(pairs)} of {len(new)} {what} kept"

    return adapt
