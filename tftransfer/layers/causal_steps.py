"""A causal text backbone read token by token, at a cost for each that does not grow with the text's length squared."""

import keras
from keras import ops

from tftransfer.layers.cached_attention import block_step, empty_cache
from tftransfer.layers.text_embedding import HidePadding, TokenPositions, word_table
from tftransfer.layers.tokenization import Tokenization
from tftransfer.layers.transformer import TransformerBlock

__all__ = ["CausalSteps"]

_IDLE = (keras.layers.InputLayer, keras.layers.Dropout, HidePadding, Tokenization)


class CausalSteps:
    """Reads one document of each row, some tokens at a time, and remembers what the next ones need.

    Of attention that is the keys and values of all tokens, of a recurrent layer its state. The features are those of
    the backbone over the whole text, up to rounding.

    Args:
        backbone: `backbones.gpt`, `transformer_text(causal=True)`, or a one-directional `lstm` or `gru`.

    Attributes:
        at_once: whether several tokens may be read in one step (not by recurrent layers).
        max_length: tokens that the position table has places for; None where there is none.

    Raises:
        ValueError: for a backbone with other layers.

    Example:

    >>> from tftransfer import backbones
    >>> gpt = backbones.gpt((8,), vocabulary_size=50, width=8, depth=1, num_heads=1)
    >>> steps = CausalSteps(gpt)
    >>> features, cache = steps(ops.ones((2, 3), "int32"), 0, steps.empty(2, 8))
    >>> features, cache = steps(ops.ones((2, 1), "int32"), 3, cache)
    >>> tuple(features.shape)
    (2, 1, 8)
    """

    def __init__(self, backbone):
        self.backbone = backbone
        table = word_table(backbone)
        if table is None:
            raise self._refusal("it has no word table")
        embedder, trunk = backbone.get_layer("embedder"), backbone.get_layer("trunk")
        first, self.parts = [], []
        for layer in embedder.layers:
            if isinstance(layer, TokenPositions):
                first.append(layer)
            elif not isinstance(layer, (keras.layers.Embedding, *_IDLE)):
                raise self._refusal(f"its embedder has a {type(layer).__name__}")
        for layer in trunk.layers:
            known = isinstance(layer, TransformerBlock) and layer.causal
            if known or isinstance(
                layer, (keras.layers.LSTM, keras.layers.GRU, keras.layers.LayerNormalization)
            ):
                self.parts.append(layer)
            elif not isinstance(layer, _IDLE):
                raise self._refusal(
                    f"its trunk has a {type(layer).__name__} that is not causal, or unknown here"
                )
        self.positions = first[0] if first else None
        self.max_length = self.positions.max_length if first else None
        self.at_once = not any(isinstance(part, keras.layers.RNN) for part in self.parts)

    def _refusal(self, why):
        return ValueError(
            f"{self.backbone.name!r} cannot be read token by token: {why}. Backbones of gpt, transformer_text(..., "
            f"causal=True), lstm and gru can; any other that sees only what is before works with cache=False."
        )

    def empty(self, batch, length):
        """What is remembered before the first token: a list, an entry for each layer that remembers.

        Args:
            batch: number of rows.
            length: tokens at most.
        """
        found = []
        for part in self.parts:
            if isinstance(part, TransformerBlock):
                found.append(empty_cache(part.attention, batch, length))
            elif isinstance(part, keras.layers.RNN):
                states = 2 if isinstance(part, keras.layers.LSTM) else 1
                found.append(tuple(ops.zeros((batch, part.units), part.compute_dtype) for _ in range(states)))
        return found

    def __call__(self, ids, first, cache):
        """Features `(batch, m, width)` of ids `(batch, m)` whose first stands at place `first`, and the new cache."""
        table = word_table(self.backbone)
        x = ops.cast(ops.take(table, ids, axis=0), self.parts[0].compute_dtype)  # (b, m, width)
        if self.positions is not None:
            places = ops.arange(ops.shape(ids)[1], dtype="int32") + first
            x = x + ops.cast(ops.take(self.positions.table, places, axis=0), x.dtype)
        left, kept = list(cache), []
        for part in self.parts:
            if isinstance(part, TransformerBlock):
                x, state = block_step(part, x, left.pop(0), first)
            elif isinstance(part, keras.layers.RNN):
                x, state = _recurrent(part, x, left.pop(0))
            else:
                x, state = part(x), None
            kept += [] if state is None else [state]
        return x, kept


def _recurrent(layer, x, states):
    outputs, states = [], list(states)
    for t in range(x.shape[1]):
        y, states = layer.cell(x[:, t], states, training=False)
        outputs.append(y)
    return ops.stack(outputs, axis=1), tuple(states)
