"""Multilayer perceptron, for tables and for small pictures."""

import keras

from tftransfer.backbones.shapes import sizes
from tftransfer.layers import TablePreprocessing
from tftransfer.layers import batch_normalization as normalization


def mlp(input_shape, *, units=(500,), activation="relu", batch_normalization=False, dropout=0.0, name="mlp"):
    """Builds a multilayer perceptron: dense layers with an activation after each.

    For vectors (tables, embeddings) and for small pictures, which it flattens. Settings of the textbooks:

    - 784-500, the hidden layer of the classic MNIST perceptron and autoencoder: `mlp((28, 28, 1))`;
    - 784-1000-500-250-30, the encoder of Hinton & Salakhutdinov: `units=(1000, 500, 250, 30)`;
    - 784-500-500-2000, the deep belief network of Hinton, Osindero & Teh: `units=(500, 500, 2000)`.

    Reference: Hinton & Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks, 2006,
    https://doi.org/10.1126/science.1127647; Hinton, Osindero & Teh, A Fast Learning Algorithm for Deep
    Belief Nets, 2006, https://doi.org/10.1162/neco.2006.18.7.1527
    Differs from them in: rectified linear units by default (`activation="sigmoid"` for theirs), and the
    last layer has the same activation as the others (the code layer of the first is linear).

    Args:
        input_shape: `(features,)`, a fixed shape such as `(height, width, channels)`, which is flattened, or a fitted
            `layers.TablePreprocessing`, which becomes the first layer: the model then reads rows that it encoded.
        units: width of each hidden layer, in order; the last one is the size of the features.
        activation: name of a Keras activation, used after every layer.
        batch_normalization: whether to normalise before each activation; the dense layers then have no bias.
        dropout: share of the values set to zero after each activation while training, in [0, 1).
        name: name of the model.

    Returns:
        A functional `keras.Model` from `(batch, *input_shape)` to `(batch, units[-1])`.

    Raises:
        ValueError: for an open or empty shape, units that are not whole numbers above 0, an unknown
            activation, or a dropout outside [0, 1).

    Example:

    >>> mlp((784,)).output_shape
    (None, 500)
    >>> mlp((28, 28, 1), units=(1000, 500, 250, 30)).count_params()
    1418280
    """
    table = isinstance(input_shape, TablePreprocessing)
    shape = (len(input_shape.columns or ()),) if table else input_shape
    shape = sizes(
        shape, builder="mlp", argument="input_shape" + " (of a table, one that adapt has seen)" * table
    )
    units = sizes(units, builder="mlp", argument="units")
    if not 0 <= dropout < 1:
        raise ValueError(
            f"mlp takes dropout in [0, 1), the share of values set to zero; received {dropout!r}. "
            "Give for instance dropout=0.1."
        )

    examples = x = keras.Input(shape, name="examples")
    if table:
        x = input_shape(x)  # (b, features)
    if len(shape) > 1:
        x = keras.layers.Flatten(name="flatten")(x)  # (b, features)
    for i, width in enumerate(units):
        block = f"block_{i:02d}"
        x = keras.layers.Dense(width, use_bias=not batch_normalization, name=f"{block}_dense")(x)
        if batch_normalization:
            x = normalization(f"{block}_norm")(x)
        x = keras.layers.Activation(activation, name=f"{block}_activation")(x)
        if dropout:
            x = keras.layers.Dropout(dropout, name=f"{block}_dropout")(x)
    return keras.Model(examples, x, name=name)
