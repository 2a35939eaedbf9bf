"""From features to embeddings: one vector an example, whatever the backbone gives."""

import keras


def pool(features_shape, *, kind="auto", name="pool"):
    """The layer that turns a backbone's features into one vector an example.

    Args:
        features_shape: the backbone's `output_shape`: `(batch, dim)`, `(batch, tokens, dim)` or
            `(batch, height, width, channels)`.
        kind: `"auto"` (mean), `"mean"`, `"max"` or `"flatten"`.
        name: the layer's name.

    Returns:
        A Keras layer to `(batch, dim)`; for vectors a layer that changes nothing.

    Raises:
        ValueError: for another rank or kind.

    Example:

    >>> type(pool((None, 4, 4, 8))).__name__
    'GlobalAveragePooling2D'
    """
    rank = len(features_shape)
    kind = "mean" if kind == "auto" else kind
    makers = {
        ("mean", 3): keras.layers.GlobalAveragePooling1D,
        ("mean", 4): keras.layers.GlobalAveragePooling2D,
        ("max", 3): keras.layers.GlobalMaxPooling1D,
        ("max", 4): keras.layers.GlobalMaxPooling2D,
    }
    if kind not in ("mean", "max", "flatten") or rank not in (2, 3, 4):
        raise ValueError(
            f"Cannot pool features of shape {tuple(features_shape)} by {kind!r}. Features are (batch, dim), "
            f"(batch, tokens, dim) or (batch, height, width, channels); kind is 'auto', 'mean', 'max' or "
            f"'flatten'."
        )
    if rank == 2:
        return keras.layers.Identity(name=name)
    return keras.layers.Flatten(name=name) if kind == "flatten" else makers[kind, rank](name=name)
