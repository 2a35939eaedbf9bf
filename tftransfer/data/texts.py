"""Turning whatever holds texts into the ids that a model reads."""

import os
import warnings

import numpy as np

from tftransfer.data.dataset_batches import columns_of, is_dataset
from tftransfer.data.examples import Examples
from tftransfer.layers.raw_texts import to_ids
from tftransfer.layers.tokenization import tokenization_of

__all__ = ["read_texts"]


def read_texts(data, model, *, rows="truncate", name="the data"):
    """Data with texts as data with the ids that a model reads; data of any other kind as it is.

    Done once, on the host, in parallel, before the first step. `pretrain`, `finetune`, `evaluate`, `compare` and the
    tasks do it themselves.

    Args:
        data: Texts, `(texts, labels)`, `Examples` (of a table with one column of texts, too), a `tf.data.Dataset` with
            texts, or the path of a `.txt` or `.csv` file or of a folder of `.txt` files. A model with a method
            `encode(x, y)` reads by that.
        model: A backbone, task or objective over a text backbone.
        rows: As in `layers.to_ids`; "window" and "pack" leave labels out.
        name: How messages call the data.

    Raises:
        ValueError: As `layers.to_ids`. Where most tokens of the texts are unknown to the tokenizer, it warns.

    Example:

    >>> from tftransfer import backbones
    >>> from tftransfer.layers import Tokenization
    >>> tokenization = Tokenization(max_length=6).adapt(["the cat sat"] * 4, vocabulary_size=40, verbose=0)
    >>> ids, labels = read_texts((["the cat", "sat"], [0, 1]), backbones.gru(tokenization, width=8, depth=1))
    >>> ids.shape
    (2, 6)
    """
    if data is None:
        return None
    if isinstance(data, (str, os.PathLike)) and tokenization_of(model) is not None:
        from tftransfer.data.sources import load

        data = load(data)
    if is_dataset(data):
        return _dataset(data, model, name)
    x, *rest = data if isinstance(data, tuple) else (data,)
    if callable(getattr(model, "encode", None)) and hasattr(model, "head") and not _is_numbers(x):
        x, y = model.encode(x, *rest[:1])
        rest = rest if y is None else [y, *rest[1:]]
    else:
        known = x
        x = to_ids(x, model, rows=rows, name=name)
        if x is known:
            return data
        if not _is_numbers(known):
            _warn_of_unknown(x, tokenization_of(model), name)
        if len(x) != len(_first(known)):  # windows or packed rows: no longer one for each label
            rest = []
    if isinstance(data, Examples):
        y = rest[0] if rest else None
        return Examples(x, y, class_names=data.class_names, name=data.name)
    return (x, *rest) if isinstance(data, tuple) or rest else x


def _warn_of_unknown(ids, tokenization, name):
    """Texts in another language or script than the tokenizer's become rows of one token, and nothing is learned."""
    ids, unknown = np.asarray(ids), tokenization.unknown_id
    if unknown in (tokenization.start_id, tokenization.end_id):  # of GPT-2, which knows every byte
        return
    count = int((ids == unknown).sum())
    known = (
        int((ids != 0).sum()) - count - int(np.isin(ids, (tokenization.start_id, tokenization.end_id)).sum())
    )
    if count > known:
        warnings.warn(
            f"{count} of the {count + known} tokens of {name} are unknown to the model's tokenizer "
            f"({tokenization.kind} of {tokenization.vocabulary_size} tokens): are the texts in another language or "
            f"script than those that it was trained on? Pretrain on such texts, with a tokenizer trained on them.",
            stacklevel=3,
        )


def _first(x):
    return next(iter(x.values())) if isinstance(x, dict) else x


def _is_numbers(x):
    """Whether x is what a model reads already: an array of numbers, or a dict of them."""
    parts = x.values() if isinstance(x, dict) else [x]
    return all(getattr(getattr(part, "dtype", None), "kind", "O") in "iufb" for part in parts)


def _dataset(dataset, model, name):
    """A `tf.data.Dataset` of texts as one of ids, encoded batch by batch while it is read."""
    tokenization, specs = tokenization_of(model), columns_of(dataset.element_spec)
    if tokenization is None or getattr(specs[0], "dtype", None) != "string":
        return dataset
    import tensorflow as tf

    rank = specs[0].shape.rank
    if rank not in (0, 1):
        raise ValueError(
            f"{name} has texts of shape {tuple(specs[0].shape)}; give a text, or a batch, an element."
        )

    def encode(texts):
        return np.asarray(to_ids(np.atleast_1d(texts), model, name=name))

    def element(*columns):
        x, *rest = columns_of(columns[0] if len(columns) == 1 else columns)
        ids = tf.numpy_function(encode, [x], tf.int32)
        ids = tf.ensure_shape(ids, (specs[0].shape[0] if rank else 1, tokenization.max_length))
        x = ids if rank else ids[0]
        return (x, *rest) if rest else x

    return dataset.map(element, num_parallel_calls=tf.data.AUTOTUNE)
