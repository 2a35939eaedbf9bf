"""What an objective or a task has to know of the ids that a text backbone reads."""

import collections

import keras

from tftransfer.layers.text_embedding import word_table
from tftransfer.layers.tokenization import tokenization_of
from tftransfer.layers.transformer import SelfAttention

__all__ = ["TextIds", "looks_ahead", "needed_tokenization", "text_ids"]

TextIds = collections.namedtuple(
    "TextIds", "vocabulary_size start_id end_id mask_id special_ids token_bytes continues_word"
)
TextIds.__doc__ = (
    "Ids with a meaning: `start_id`, `end_id`, `mask_id` (None where there is none), all `special_ids`, "
    "padding (0) among them; `token_bytes` and `continues_word` of each id, None for ids of your own."
)


def text_ids(backbone, *, where, mask_id=None):
    """The `TextIds` of a text backbone: its tokenization's, or for ids of your own padding and `mask_id` alone.

    Args:
        backbone: a text backbone, such as `backbones.bert` builds.
        where: name of the objective or task, for the message.
        mask_id: id of the mask, where the backbone has no tokenization.

    Raises:
        ValueError: for a backbone that reads no ids or has no word table, or a mask that is no id of it.

    Example:

    >>> from tftransfer import backbones
    >>> text_ids(backbones.bert((8,), vocabulary_size=50, width=8, depth=1, num_heads=1), where="mine").special_ids
    (0,)
    """
    table = word_table(backbone)
    if table is None or len(backbone.input_shape) != 2:
        raise ValueError(
            f"{where} reads the ids of texts (batch, tokens), by a backbone with a word table, such as backbones.bert, "
            f"gpt, transformer_text, lstm or gru build; {backbone.name!r} reads {backbone.input_shape}"
            f"{'' if table is not None else ' and has no word table'}."
        )
    size, tokenization = int(table.shape[0]), tokenization_of(backbone)
    if tokenization is None:
        if mask_id is not None and not 0 < mask_id < size:
            raise ValueError(f"mask_id is one of the ids 1 to {size - 1}; received {mask_id!r}.")
        special = (0,) if mask_id is None else (0, int(mask_id))
        return TextIds(size, None, None, mask_id, special, None, None)
    words = tokenization
    return TextIds(
        size,
        words.start_id,
        words.end_id,
        words.mask_id if mask_id is None else mask_id,
        tuple(sorted({0, *words.special_ids})),
        words.token_bytes,
        words.continues_word,
    )


def needed_tokenization(backbone, *, reads="texts", instead="ids"):
    """The tokenization of a backbone that is to read texts.

    Args:
        backbone: a text backbone.
        reads: what was to be read, for the message.
        instead: what can be given to a backbone without tokenizer, for the message.

    Raises:
        ValueError: for a backbone that was built on ids.

    Example:

    >>> from tftransfer import backbones, layers
    >>> words = layers.Tokenization(max_length=8).adapt(["the cat sat"] * 4, vocabulary_size=40, verbose=0)
    >>> needed_tokenization(backbones.bert(words, width=8, depth=1, num_heads=1)).max_length
    8
    """
    found = tokenization_of(backbone)
    if found is None:
        raise ValueError(
            f"{backbone.name!r} was built on ids without a tokenizer, so {reads} cannot be read. Build it on a "
            f"layers.Tokenization, or give {instead}."
        )
    return found


def looks_ahead(backbone):
    """Whether a token sees those behind it: True, False, or None for a model whose layers do not say.

    Args:
        backbone: a model of attention (`layers.SelfAttention`) or of Keras's recurrent layers.

    Example:

    >>> from tftransfer import backbones
    >>> looks_ahead(backbones.gpt((8,), vocabulary_size=50, width=8, depth=1, num_heads=1))
    False
    """
    parts = backbone._flatten_layers()
    attention = [part.causal for part in parts if isinstance(part, SelfAttention)]
    both_ways = any(isinstance(part, keras.layers.Bidirectional) for part in parts)
    if both_ways or not all(attention):
        return True
    recurrent = any(isinstance(part, keras.layers.RNN) for part in parts)
    return False if attention or recurrent else None
