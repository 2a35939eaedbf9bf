import keras
import numpy as np
import pytest

from tftransfer.layers import projector


@pytest.mark.compute
@pytest.mark.parametrize("normalize_last", [False, True])
def test_formula_in_float64(normalize_last):
    model = projector(5, widths=(7, 6, 3), normalize_last=normalize_last)
    x = np.random.default_rng(0).normal(size=(9, 5)).astype("float32")
    expected = x.astype("float64")
    for i in range(3):
        dense = model.get_layer(f"dense_{i}")
        expected = expected @ np.asarray(dense.kernel, "float64")
        if i < 2 or normalize_last:
            expected = (expected - expected.mean(0)) / np.sqrt(expected.var(0) + 1e-5)
        else:
            expected = expected + np.asarray(dense.bias, "float64")
        expected = np.maximum(expected, 0) if i < 2 else expected
    np.testing.assert_allclose(np.asarray(model(x, training=True)), expected, atol=2e-4)


def test_layers_and_names():
    model = projector(5, widths=(7, 3))
    assert isinstance(model, keras.Sequential) and model.built and model.name == "projector"
    assert [layer.name for layer in model.layers] == ["dense_0", "norm_0", "relu_0", "dense_1"]
    assert [layer.name for layer in projector(5, widths=(3,), normalize_last=True).layers] == [
        "dense_0",
        "norm_0",
    ]
    assert not model.get_layer("dense_0").use_bias and model.get_layer("dense_1").use_bias
    assert model.output_shape == (None, 3)
