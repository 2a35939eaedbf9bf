"""Writes files of Keras 2: run by itself where `tf_keras` can be imported, with a folder as argument.

The values follow from the paths (`expected`), so that a test of Keras 3 knows them.
"""

import sys
import zlib

import numpy as np

FILES = ("whole.h5", "layers.h5", "positions.weights.h5", "archive.keras")


def expected(path, shape):
    """What the variable at this path holds in every file."""
    return np.random.default_rng(zlib.crc32(path.encode())).normal(size=shape).astype("float32")


def build(keras):
    """The same model in Keras 2 and Keras 3: nested, one layer in it frozen."""
    layers = keras.layers
    start = keras.Input((6,))
    hidden = layers.Dense(6, name="b2")(layers.Dense(6, name="b1")(start))
    trunk = keras.Model(start, hidden, name="trunk")
    inputs = keras.Input((6,))
    x = layers.BatchNormalization(name="norm")(trunk(inputs))
    x = layers.Reshape((2, 3))(x)
    x = layers.MultiHeadAttention(2, 2, name="attention")(x, x)
    x = layers.Bidirectional(layers.LSTM(3), name="memory")(x)
    model = keras.Model(inputs, layers.Dense(2)(x))
    trunk.get_layer("b1").trainable = False
    return model


def main(folder):
    import tf_keras

    model = build(tf_keras)
    trunk = model.get_layer("trunk")
    inside = {id(weight) for weight in trunk.weights}
    for weight in model.weights:
        path = weight.name.removesuffix(":0")
        path = f"trunk/{path}" if id(weight) in inside else path
        weight.assign(expected(path, weight.shape))
    model.compile("adam", "mse")
    model.train_on_batch(
        np.ones((4, 6)), np.ones((4, 2)), sample_weight=np.zeros(4)
    )  # makes the optimizer's slots
    for weight in model.weights:
        path = weight.name.removesuffix(":0")
        weight.assign(expected(f"trunk/{path}" if id(weight) in inside else path, weight.shape))
    model.save(f"{folder}/whole.h5")
    model.save_weights(f"{folder}/layers.h5")
    model.save_weights(f"{folder}/positions.weights.h5")
    model.save(f"{folder}/archive.keras")


if __name__ == "__main__":
    main(sys.argv[1])
