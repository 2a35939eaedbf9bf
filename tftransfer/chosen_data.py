"""The data that a command line chose: loaded, as what a model reads, and as the Python that does the same."""

import inspect
import os


def load(options, split=None):
    """What `data.load` makes of the options.

    Args:
        options: parsed arguments with `data`, `split`, `image_size`, `label`, `text`, `documents`, `data_dir` and
            `manual_dir`.
        split: the part to take where the options name none and the data has parts; a table is a file for itself.

    Returns:
        `Examples`, or a `tf.data.Dataset`.
    """
    import tftransfer as tt

    return tt.data.load(options.data, **_settings(options, split))


def load_text(options, split=None):
    """The Python that `load` stands for.

    Example:

    >>> import argparse
    >>> options = argparse.Namespace(data="rows.csv", split=None, image_size=None, label="pay", data_dir=None,
    ...                              manual_dir=None)
    >>> load_text(options, split="test")
    "tt.data.load('rows.csv', label='pay')"
    """
    chosen = _settings(options, split).items()
    return f"tt.data.load({', '.join([repr(options.data), *(f'{n}={v!r}' for n, v in chosen if v is not None)])})"


def _settings(options, split):
    is_table = options.data.lower().endswith((".csv", ".tsv", ".txt"))
    chosen = {"split": options.split or (None if is_table else split), "image_size": options.image_size}
    return chosen | {
        name: getattr(options, name, None)
        for name in ("label", "text", "documents", "data_dir", "manual_dir")
    }


def is_table(examples):
    """Whether examples are the columns of a table."""
    return isinstance(examples, tuple) and isinstance(examples[0], dict)


def read_by_new_backbone(examples, build=None, options=None):
    """What a builder of backbones takes first, the examples as its model reads them, and the Python of both.

    Args:
        examples: what `load` returned.
        build: the builder; one of texts gets a tokenizer trained on them.
        options: parsed arguments with `tokenizer`, `vocabulary_size` and `max_length`, for texts.

    Returns:
        `(shape, examples, text of the shape, lines of Python)`; for a table the shape is a preprocessing fitted on it,
        for texts a tokenization.

    Raises:
        ValueError: for pictures that differ in size, or a table that cannot be learned from.
    """
    import tftransfer as tt

    if build is not None and "vocabulary_size" in inspect.signature(build).parameters:
        return _tokenization(examples, build, options)
    if is_table(examples):
        preprocessing = tt.layers.TablePreprocessing().adapt(examples.x)
        lines = [
            "preprocessing = tt.layers.TablePreprocessing().adapt(examples.x)",
            "examples = examples.map(preprocessing.encode)",
        ]
        return preprocessing, examples.map(preprocessing.encode), "preprocessing", lines
    if tt.layers.are_texts(examples[0] if isinstance(examples, tuple) else None):
        raise ValueError(
            "The data are texts; choose a backbone that reads them: bert, gpt, transformer_text, lstm, gru."
        )
    shape = _shape(examples)
    return shape, examples, repr(shape), []


def _tokenization(examples, build, options):
    import tftransfer as tt

    x, path = examples[0] if isinstance(examples, tuple) else None, ""
    if isinstance(x, dict):
        columns = [name for name, values in x.items() if tt.layers.are_texts(values)]
        if len(columns) == 1:
            x, path = x[columns[0]], f"[{columns[0]!r}]"
    if not tt.layers.are_texts(x):
        raise ValueError(
            f"{build.__name__} reads texts, and {options.data} holds {'a table' if is_table(examples) else 'none'}. "
            f"Give a .txt file, one text a line, or a folder of .txt files, or name the column of a .csv file "
            f"(--text NAME)."
        )
    if options.tokenizer.endswith((".json", ".txt")):
        tokenization = tt.layers.Tokenization.from_file(options.tokenizer, max_length=options.max_length)
        line = f"Tokenization.from_file({options.tokenizer!r}, max_length={options.max_length})"
    else:
        kind = options.tokenizer
        if kind == "auto":
            kind = "bpe" if build.__name__ == "gpt" else "wordpiece"
        settings = {"kind": kind, "vocabulary_size": options.vocabulary_size}
        tokenization = tt.layers.Tokenization(max_length=options.max_length).adapt(x, **settings)
        words = ", ".join(f"{name}={value!r}" for name, value in settings.items())
        line = f"Tokenization(max_length={options.max_length}).adapt(examples.x{path}, {words})"
    return tokenization, examples, "tokenization", [f"tokenization = tt.layers.{line}"]


def _shape(examples):
    """Shape of one example of arrays or of a `tf.data.Dataset`."""
    if isinstance(examples, tuple):
        return tuple(int(n) for n in examples[0].shape[1:])
    spec = examples.element_spec
    shape = tuple((spec[0] if isinstance(spec, tuple) else spec).shape)
    if None in shape:
        raise ValueError(
            f"The pictures differ in size (shape {shape}). Bring them to one size with --image-size."
        )
    return shape


def read_by(model, examples):
    """The examples as a model reads them: a table as its own preprocessing encodes it, anything else as it is.

    Raises:
        ValueError: for a table and a model that was not pretrained on one.
    """
    import tftransfer as tt

    if examples is None or not is_table(examples) or tt.layers.tokenization_of(model) is not None:
        return examples  # texts are read by whatever they are handed to
    preprocessing = tt.layers.preprocessing_of(model)
    if preprocessing is None:
        raise ValueError(
            f"The data are a table, and the backbone was not pretrained on one ({model.name!r} holds no "
            f"TablePreprocessing). Give data of the kind it was pretrained on."
        )
    return examples.map(preprocessing.encode)


def encoding(examples, tokenizer):
    """The Python behind `examples` that encodes a table for a task, "" where nothing has to be written.

    Args:
        examples: what `load` returned.
        tokenizer: whether the task reads texts, which it encodes by itself.
    """
    return ".map(tt.layers.preprocessing_of(task).encode)" if is_table(examples) and not tokenizer else ""


def is_of_texts(path):
    """Whether the backbone in a weights file was pretrained on texts; no for a file that is not there."""
    import tftransfer as tt

    return os.path.exists(path) and "tokenizer" in (tt.weights.describe(path).preprocessing or {})
