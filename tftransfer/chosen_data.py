"""The data that a command line chose: loaded, as what a model reads, and as the Python that does the same."""


def load(options, split=None):
    """What `data.load` makes of the options.

    Args:
        options: parsed arguments with `data`, `split`, `image_size`, `label`, `data_dir` and `manual_dir`.
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
    is_table = options.data.lower().endswith((".csv", ".tsv"))
    chosen = {"split": options.split or (None if is_table else split), "image_size": options.image_size}
    return chosen | {name: getattr(options, name) for name in ("label", "data_dir", "manual_dir")}


def is_table(examples):
    """Whether examples are the columns of a table."""
    return isinstance(examples, tuple) and isinstance(examples[0], dict)


def read_by_new_backbone(examples):
    """What a builder of backbones takes first, the examples as its model reads them, and the Python of both.

    Returns:
        `(shape, examples, text of the shape, lines of Python)`; for a table the shape is a preprocessing fitted on it.

    Raises:
        ValueError: for pictures that differ in size, or a table that cannot be learned from.
    """
    import tftransfer as tt

    if is_table(examples):
        preprocessing = tt.layers.TablePreprocessing().adapt(examples.x)
        lines = [
            "preprocessing = tt.layers.TablePreprocessing().adapt(examples.x)",
            "examples = examples.map(preprocessing.encode)",
        ]
        return preprocessing, examples.map(preprocessing.encode), "preprocessing", lines
    shape = _shape(examples)
    return shape, examples, repr(shape), []


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

    if examples is None or not is_table(examples):
        return examples
    preprocessing = tt.layers.preprocessing_of(model)
    if preprocessing is None:
        raise ValueError(
            f"The data are a table, and the backbone was not pretrained on one ({model.name!r} holds no "
            f"TablePreprocessing). Give data of the kind it was pretrained on."
        )
    return examples.map(preprocessing.encode)
