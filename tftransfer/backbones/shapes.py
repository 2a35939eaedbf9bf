"""What every builder asks of the input shape and of the numbers that set its size."""

import numbers

import keras

from tftransfer.layers import TablePreprocessing


def _is_size(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and value > 0


def picture_shape(input_shape, *, builder, smallest=1):
    """Checks `(height, width, channels)` and returns it as a tuple of three Python ints.

    Args:
        input_shape: what the user gave.
        builder: name of the builder, for the message.
        smallest: the least height and width in pixels.

    Raises:
        ValueError: for a missing or open axis, a size that is no whole number above 0, a picture too small.

    Example:

    >>> picture_shape([28, 28, 1], builder="cnn")
    (28, 28, 1)
    """
    example = f"for instance {builder}((32, 32, 3))"
    if not isinstance(input_shape, (tuple, list)):
        raise ValueError(
            f"{builder} takes input_shape=(height, width, channels); received {input_shape!r}. "
            f"Give a tuple, {example}."
        )
    if len(input_shape) == 2:
        raise ValueError(
            f"{builder} takes input_shape=(height, width, channels), and {tuple(input_shape)}, which it "
            f"received, has no channel axis. Grey pictures have one channel: "
            f"{builder}({(*input_shape, 1)}), and arrays of them need `x[..., None]`."
        )
    if len(input_shape) != 3:
        raise ValueError(
            f"{builder} takes input_shape=(height, width, channels) without the batch axis; received "
            f"{tuple(input_shape)}. Give three sizes, {example}."
        )
    if not all(_is_size(size) for size in input_shape):
        raise ValueError(
            f"{builder} takes three fixed sizes, whole numbers above 0; received "
            f"input_shape={tuple(input_shape)}. Resize pictures of differing sizes to one size, {example}."
        )
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            f"{builder} reads pictures as (height, width, channels), and Keras is set to "
            f'{keras.config.image_data_format()!r}. Call keras.config.set_image_data_format("channels_last").'
        )
    height, width, channels = (int(size) for size in input_shape)
    if min(height, width) < smallest:
        raise ValueError(
            f"{builder} takes pictures of at least {smallest}×{smallest} pixels; received "
            f"input_shape={(height, width, channels)}. Enlarge the pictures or choose a smaller backbone; "
            "if the channels come first here, move them to the last axis."
        )
    return height, width, channels


def sizes(values, *, builder, argument):
    """Checks a non-empty sequence of whole numbers above 0 and returns it as a tuple of Python ints.

    Raises:
        ValueError: when it is anything else.

    Example:

    >>> sizes([32, 64], builder="cnn", argument="filters")
    (32, 64)
    """
    is_sequence = isinstance(values, (tuple, list)) and len(values) > 0
    if not is_sequence or not all(_is_size(value) for value in values):
        raise ValueError(
            f"{builder} takes {argument} as a tuple of fixed sizes, whole numbers above 0; received "
            f"{values!r}. Give for instance {argument}=(64,) for a single one."
        )
    return tuple(int(value) for value in values)


def row_preprocessing(input_shape, *, builder):
    """The `TablePreprocessing` that a builder's first argument is, or one that changes nothing for `(columns,)`.

    Raises:
        ValueError: for anything else, or a preprocessing that has seen no rows.

    Example:

    >>> row_preprocessing((3,), builder="table_transformer").names
    ['column_0', 'column_1', 'column_2']
    """
    if isinstance(input_shape, TablePreprocessing):
        if input_shape.columns is None:
            raise ValueError(
                f"{builder} received a TablePreprocessing that has seen no rows. Call adapt(training_rows) first."
            )
        return input_shape
    shape = sizes(input_shape, builder=builder, argument="input_shape")
    if len(shape) != 1:
        raise ValueError(
            f"{builder} reads rows of a table: it takes a fitted TablePreprocessing or input_shape=(columns,); "
            f"received {shape}. For pictures use backbones.vit."
        )
    return TablePreprocessing.plain(shape[0])
