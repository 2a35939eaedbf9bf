"""Texts: reading them from files, and turning whatever holds texts into the ids that a model reads."""

import os
from pathlib import Path

import numpy as np

from tftransfer.data.dataset_batches import columns_of, is_dataset
from tftransfer.data.examples import Examples
from tftransfer.layers.raw_texts import to_ids
from tftransfer.layers.tokenization import tokenization_of

__all__ = ["load_text", "read_texts"]

_MEMORY = 5  # bytes in memory for each byte of the file, rather too many


def load_text(path, *, documents=False, split=None, memory_limit=2 * 1024**3):
    """Reads the texts of a `.txt` file: one a line, or documents that blank lines separate.

    Args:
        path: The file, in UTF-8.
        documents: False: each line that is not blank is a text. True: the lines up to a blank one are one text, line
            ends kept; what a language model should read on end (`objectives.CausalLM`).
        split: A part that lies in a file of its own: "test" with `corpus.txt` reads `corpus_test.txt`.
        memory_limit: Bytes to hold in memory at most.

    Returns:
        `Examples` with x an array of `str` and y None.

    Raises:
        FileNotFoundError: When there is no such file.
        ValueError: When it is not valid UTF-8, too big, or holds no text.

    Example:

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "corpus.txt")
    >>> with open(path, "w") as file:
    ...     _ = file.write("One.\\nTwo.\\n\\nThree.\\n")
    >>> load_text(path).x.tolist(), load_text(path, documents=True).x.tolist()
    (['One.', 'Two.', 'Three.'], ['One.\\nTwo.', 'Three.'])
    """
    path = Path(path).expanduser()
    if split is not None:
        path = path.with_name(f"{path.stem}_{split}{path.suffix}")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}. Give the path of a text file, one text a line.")
    if os.path.getsize(path) * _MEMORY > memory_limit:
        raise ValueError(
            f"{path} has {os.path.getsize(path) / 1024**3:.2f} GiB and would take more than memory_limit "
            f"({memory_limit / 1024**3:.2f} GiB). Raise memory_limit (bytes), or read it in parts."
        )
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not valid UTF-8: {error}. Convert it, for example by iconv -f latin1 -t utf-8, or read it with "
            f"errors='replace' and hand over the list of texts."
        ) from error
    if documents:
        texts, texts_end = [[]], [*lines, ""]
        for line in texts_end:
            if line.strip():
                texts[-1].append(line)
            elif texts[-1]:
                texts.append([])
        texts = ["\n".join(text) for text in texts if text]
    else:
        texts = [line for line in (line.strip() for line in lines) if line]
    if not texts:
        raise ValueError(f"{path} holds no text: every line is blank.")
    return Examples(text_array(texts), name=path.stem)


def text_array(texts):
    """Texts as an array of objects: one long text must not make all others long."""
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return array


def read_texts(data, model, *, rows="truncate", name="the data"):
    """Data with texts as data with the ids that a model reads; data of any other kind as it is.

    Done once, on the host, in parallel, before the first step. `pretrain`, `finetune`, `evaluate`, `compare` and the
    tasks do it themselves.

    Args:
        data: Texts, `(texts, labels)`, `Examples` (of a table with one column of texts, too), a `tf.data.Dataset` with
            texts, or the path of a `.txt` or `.csv` file. A model with a method `encode(x, y)` reads by that.
        model: A backbone, task or objective over a text backbone.
        rows: As in `layers.to_ids`; "window" and "pack" leave labels out.
        name: How messages call the data.

    Raises:
        ValueError: As `layers.to_ids`.

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
        if len(x) != len(_first(known)):  # windows or packed rows: no longer one for each label
            rest = []
    if isinstance(data, Examples):
        y = rest[0] if rest else None
        return Examples(x, y, class_names=data.class_names, name=data.name)
    return (x, *rest) if isinstance(data, tuple) or rest else x


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
