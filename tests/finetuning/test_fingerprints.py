"""Fingerprints tell what changes features, and pass over what does not."""

import keras
import numpy as np

from tftransfer.finetuning.fingerprints import fingerprint_of_examples, fingerprint_of_layers

layers = keras.layers


def model(activation="relu", **options):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 1))
    x = layers.Conv2D(2, 3, activation=activation, **options)(inputs)
    return keras.Model(inputs, layers.Add()([x, layers.Conv2D(2, 1)(x)]))


def test_names_and_flags_do_not_count():
    one, other = model(), model()
    other.trainable = False
    assert one.layers[1].name != other.layers[1].name
    assert fingerprint_of_layers([one]) == fingerprint_of_layers([other, None])


def test_weights_and_layers_count():
    first = fingerprint_of_layers([model()])
    assert fingerprint_of_layers([model("tanh")]) != first
    assert fingerprint_of_layers([model(dtype="mixed_bfloat16")]) != first
    changed = model()
    kernel = changed.layers[1].kernel
    kernel.assign(np.nextafter(keras.ops.convert_to_numpy(kernel), np.float32(np.inf)))
    assert fingerprint_of_layers([changed]) != first


def test_every_byte_of_the_examples_counts():
    x = np.zeros((9, 4, 4, 3), "uint8")
    first = fingerprint_of_examples(x, scale=True)
    assert fingerprint_of_examples(x.copy(), scale=True) == first
    assert fingerprint_of_examples(x, scale=False) != first
    assert fingerprint_of_examples(x.astype("float32"), scale=True) != first
    assert fingerprint_of_examples(x.reshape(9, 48), scale=True) != first
    x[-1, -1, -1, -1] = 1
    assert fingerprint_of_examples(x, scale=True) != first
