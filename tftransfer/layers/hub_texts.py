"""Text backbones of KerasHub, which read dicts, as models of plain ids."""

import keras

from tftransfer.layers.text_embedding import HidePadding, TextSegments, TokenTypeIds

__all__ = ["plain_ids"]


def plain_ids(backbone):
    """A backbone of KerasHub that reads `{"token_ids", "padding_mask", …}` as one that reads ids `(batch, length)`.

    Tasks and objectives do this themselves, so that such a backbone works as it is. 0 counts as padding; the features
    are those of the tokens (`sequence_output`), exactly zero at padding. Weights are shared with the backbone. A layer
    that serves no token's features (BERT's pooler) is no part of it.

    Args:
        backbone: any model; one that reads no such dict is returned as it is.

    Example:

    >>> inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in ("token_ids", "padding_mask")}
    >>> table = keras.layers.Embedding(50, 8, name="token_embedding")
    >>> hub = keras.Model(inputs, {"sequence_output": table(inputs["token_ids"])}, name="hub")
    >>> plain_ids(hub).output_shape
    (None, None, 8)
    """
    inputs = getattr(backbone, "input", None) if getattr(backbone, "built", False) else None
    if not isinstance(inputs, dict) or not {"token_ids", "padding_mask"} <= set(inputs):
        return backbone
    unknown = sorted(set(inputs) - {"token_ids", "padding_mask", "segment_ids"})
    outputs = backbone.output
    features = outputs.get("sequence_output") if isinstance(outputs, dict) else outputs
    if unknown or features is None or len(features.shape) != 3:
        raise ValueError(
            f"{backbone.name!r} reads {sorted(inputs)} and gives {outputs}. Wrap it: a functional keras.Model from ids "
            f"(batch, length) to the features of the tokens (batch, length, width)."
        )
    inner = keras.Model(inputs, features, name=backbone.name)
    ids = keras.Input((None,), dtype="int32", name="ids")
    segments = TextSegments(name="segments")(ids)
    read = {"token_ids": ids, "padding_mask": segments}
    if "segment_ids" in inputs:
        read["segment_ids"] = TokenTypeIds(name="types")(ids)
    features = HidePadding(name="hide_padding")(inner(read), segments)
    return keras.Model(ids, features, name=backbone.name)
