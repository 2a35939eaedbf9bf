"""From features to embeddings: one vector an example, whatever the backbone gives."""

import keras
from keras import ops

from tftransfer.layers.config import Configured, register

__all__ = ["TokenPooling", "pool"]


def pool(features_shape, *, kind="auto", name="pool"):
    """The layer that turns a backbone's features into one vector an example.

    Args:
        features_shape: the backbone's `output_shape`: `(batch, dim)`, `(batch, tokens, dim)` or
            `(batch, height, width, channels)`.
        kind: `"auto"` (mean), `"mean"`, `"max"` or `"flatten"`; of tokens also `"first"` (BERT's [CLS]) and `"last"` (a
            causal model's, which has seen them all). Where the number of tokens is open, as in texts, those whose
            features are all zero are padding and do not count.
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
    of_tokens = kind in ("first", "last")
    if (
        kind not in ("mean", "max", "flatten", "first", "last")
        or rank not in (2, 3, 4)
        or (of_tokens and rank == 4)
    ):
        raise ValueError(
            f"Cannot pool features of shape {tuple(features_shape)} by {kind!r}. Features are (batch, dim), "
            f"(batch, tokens, dim) or (batch, height, width, channels); kind is 'auto', 'mean', 'max', "
            f"'flatten', or of tokens 'first' or 'last'."
        )
    if rank == 2:
        return keras.layers.Identity(name=name)
    if of_tokens or (rank == 3 and features_shape[1] is None and kind != "flatten"):
        return TokenPooling(kind, name=name)
    return keras.layers.Flatten(name=name) if kind == "flatten" else makers[kind, rank](name=name)


@register
class TokenPooling(Configured, keras.layers.Layer):
    """One vector of the tokens of a text, of those that are not all zero: text backbones give zeros at padding.

    Args:
        kind: "mean", "max", "first" or "last". A text without any token gives zeros.

    Input: features `(batch, tokens, dim)`. Output: `(batch, dim)`.

    Example:

    >>> features = ops.convert_to_tensor([[[2.0], [4.0], [0.0]]])
    >>> [float(TokenPooling(kind)(features)[0, 0]) for kind in ("mean", "max", "first", "last")]
    [3.0, 4.0, 2.0, 4.0]
    """

    def __init__(self, kind="mean", **kwargs):
        super().__init__(**kwargs)
        self.kind = kind

    def call(self, features):
        if self.kind == "first":
            return features[:, 0]
        known = ops.any(ops.not_equal(features, 0), axis=-1)  # (b, n)
        if self.kind == "max":
            low = ops.cast(-6e4 if features.dtype == "float16" else -1e30, features.dtype)
            found = ops.max(ops.where(known[..., None], features, low), axis=1)
            return ops.where(ops.any(known, axis=1)[:, None], found, ops.zeros_like(found))
        counts = ops.sum(ops.cast(known, "int32"), axis=1, keepdims=True)  # (b, 1)
        if self.kind == "last":
            last = ops.equal(ops.arange(ops.shape(features)[1])[None], ops.maximum(counts, 1) - 1)
            return ops.sum(features * ops.cast(last, features.dtype)[..., None], axis=1)
        total = ops.sum(ops.cast(features, "float32"), axis=1)
        return ops.cast(total / ops.cast(ops.maximum(counts, 1), "float32"), features.dtype)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[-1])
