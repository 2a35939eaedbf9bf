"""A fingerprint of what features depend on: the frozen layers, their weights, the examples, what is done to these."""

import hashlib
import json

import keras
import numpy as np

__all__ = ["fingerprint_of_examples", "fingerprint_of_layers"]

_CHUNK = 2**24  # bytes that are hashed at a time
_NAMING = {"name", "inbound_nodes", "input_layers", "output_layers"}
_OF_LAYERS = {
    "trainable",
    "batch_shape",
    "inbound_nodes",
}  # beside a name that is a layer's, not a dtype policy's


def fingerprint_of_layers(layers):
    """Hexadecimal digest of what layers compute: their configuration and every weight, bit by bit.

    Names and `trainable` flags do not count; the versions of Keras and its backend do.

    Args:
        layers: built layers and models, in order; None among them is passed over.

    Example:

    >>> layer = keras.layers.Dense(2)
    >>> layer.build((None, 3))
    >>> before = fingerprint_of_layers([layer])
    >>> _ = layer.bias.assign([0.0, 1.0])
    >>> fingerprint_of_layers([layer]) == before
    False
    """
    digest = hashlib.blake2b(digest_size=16)
    engine = [keras.__version__, keras.backend.backend(), keras.config.image_data_format()]
    digest.update(json.dumps(engine).encode())
    for layer in layers:
        if layer is None:
            continue
        config = keras.saving.serialize_keras_object(layer)
        digest.update(json.dumps(_nameless(config), sort_keys=True, default=str).encode())
        for variable in layer.weights:
            _update(digest, keras.ops.convert_to_numpy(variable))
    return digest.hexdigest()


def fingerprint_of_examples(x, **beside):
    """Hexadecimal digest of examples, every byte of them (about a second per gigabyte), and of what is done to them.

    Args:
        x: array of examples.
        **beside: what else the features depend on, as JSON can hold it.

    Example:

    >>> x = np.zeros((3, 2))
    >>> fingerprint_of_examples(x, scale=True) == fingerprint_of_examples(x, scale=False)
    False
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps(beside, sort_keys=True).encode())
    _update(digest, np.asarray(x))
    return digest.hexdigest()


def _update(digest, array):
    digest.update(f"{array.dtype.str}{array.shape}".encode())
    rows = max(1, _CHUNK // max(array[:1].nbytes, 1)) if array.ndim else 1
    for start in range(0, len(array) if array.ndim else 1, rows):
        part = array[start : start + rows] if array.ndim else array
        digest.update(np.ascontiguousarray(part).tobytes())


def _nameless(config):
    """A configuration without `trainable` flags, in which every layer's name is its number, in order of appearance."""
    numbers = {}

    def collect(node):
        if isinstance(node, dict):
            if isinstance(node.get("name"), str) and _OF_LAYERS & set(node):
                numbers.setdefault(node["name"], f"#{len(numbers)}")
            for value in node.values():
                collect(value)
        elif isinstance(node, (list, tuple)):
            for value in node:
                collect(value)

    def rename(node, naming=False):
        if isinstance(node, dict):
            flags = {"trainable": None} if "trainable" in node else {}
            return {k: rename(v, k in _NAMING or naming) for k, v in node.items()} | flags
        if isinstance(node, (list, tuple)):
            return [rename(value, naming) for value in node]
        return numbers.get(node, node) if naming and isinstance(node, str) else node

    collect(config)
    return rename(config)
