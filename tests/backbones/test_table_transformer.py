"""The transformer over columns."""

import numpy as np
import pytest
from keras import ops

from tftransfer.backbones import mlp, table_transformer
from tftransfer.layers import TablePreprocessing

SMALL = {"width": 16, "depth": 2, "num_heads": 2}


def test_the_papers_default_size():
    model = table_transformer((8,))
    assert model.output_shape == (None, 8, 192)
    per_block = 4 * 192 * 192 + 4 * 192 + 2 * 192 * 256 + 192 + 256 + 4 * 192
    assert model.get_layer("trunk").count_params() == 3 * per_block + 2 * 192


@pytest.mark.compute
def test_the_order_of_columns_does_not_matter_to_the_trunk():
    model = table_transformer((5,), **SMALL)
    tokens = np.random.default_rng(0).normal(size=(2, 5, 16)).astype("float32")
    order = [3, 1, 4, 0, 2]
    trunk = model.get_layer("trunk")
    a, b = ops.convert_to_numpy(trunk(tokens)), ops.convert_to_numpy(trunk(tokens[:, order]))
    np.testing.assert_allclose(a[:, order], b, atol=1e-5)
    assert trunk(tokens[:, :2]).shape == (2, 2, 16)  # any number of tokens


@pytest.mark.compute
def test_reads_rows_that_its_preprocessing_encoded():
    table = {"age": [20.0, np.nan, 60.0], "job": ["cook", "clerk", "cook"]}
    preprocessing = TablePreprocessing().adapt(table)
    model = table_transformer(preprocessing, **SMALL)
    features = ops.convert_to_numpy(model(preprocessing.encode(table)))
    assert features.shape == (3, 2, 16) and np.isfinite(features).all()
    assert np.abs(features[0] - features[1]).max() > 1e-3


@pytest.mark.parametrize("shape", [(8, 8, 1), (), (None,), "rows", (2.5,)], ids=str)
def test_refuses_what_is_no_row(shape):
    with pytest.raises(ValueError, match="table_transformer"):
        table_transformer(shape)
    with pytest.raises(ValueError, match="does not divide"):
        table_transformer((4,), width=10, num_heads=4)


def test_a_perceptron_takes_the_preprocessing_as_its_first_layer():
    preprocessing = TablePreprocessing().adapt({"age": [20.0, 40.0], "job": ["cook", "clerk"]})
    model = mlp(preprocessing, units=(4,))
    assert model.input_shape == (None, 2) and model.get_layer("preprocessing") is preprocessing
    assert model.get_layer("block_00_dense").kernel.shape == (6, 4)
