import itertools

import numpy as np
import pytest

from tftransfer.backbones import mlp


def test_textbook_sizes():
    assert mlp((784,)).count_params() == 784 * 500 + 500
    assert mlp((28, 28, 1)).count_params() == 784 * 500 + 500
    widths = (784, 1000, 500, 250, 30)
    expected = sum(a * b + b for a, b in itertools.pairwise(widths))
    assert mlp((784,), units=widths[1:]).count_params() == expected


def test_is_the_formula():
    model = mlp((5,), units=(4, 3), activation="tanh")
    x = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
    w1, b1, w2, b2 = (np.asarray(v, "float64") for v in model.get_weights())
    np.testing.assert_allclose(np.asarray(model(x)), np.tanh(np.tanh(x @ w1 + b1) @ w2 + b2), atol=1e-5)


def test_picture_and_its_flat_copy_agree():
    picture, flat = mlp((4, 4, 2), units=(3,)), mlp((32,), units=(3,))
    flat.set_weights(picture.get_weights())
    x = np.random.default_rng(0).random((2, 4, 4, 2), dtype="float32")
    np.testing.assert_allclose(np.asarray(picture(x)), np.asarray(flat(x.reshape(2, 32))), atol=1e-6)


def test_options_name_their_layers():
    model = mlp((4, 4, 1), units=(8, 3), batch_normalization=True, dropout=0.5)
    parts = ("dense", "norm", "activation", "dropout")
    names = [f"block_{i:02d}_{part}" for i in (0, 1) for part in parts]
    assert [layer.name for layer in model.layers] == ["examples", "flatten", *names]
    assert not model.get_layer("block_00_dense").use_bias
    assert model.get_layer("block_00_norm").momentum == 0.9


def test_bad_arguments():
    with pytest.raises(ValueError, match="units"):
        mlp((4,), units=())
    with pytest.raises(ValueError, match="dropout"):
        mlp((4,), dropout=1.0)
    with pytest.raises(ValueError, match="activation"):
        mlp((4,), activation="no_such_activation")
    with pytest.raises(TypeError):
        mlp((4,), (3,))  # only the shape is positional
