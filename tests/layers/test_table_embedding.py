"""One token for each column, by the formula."""

import numpy as np
import pytest
from keras import ops

from tftransfer.layers import TableEmbedding, TablePreprocessing

pytestmark = pytest.mark.compute

TABLE = {"age": [20.0, 40.0, np.nan], "job": ["cook", "clerk", "cook"]}


def test_tokens_are_the_papers():
    preprocessing = TablePreprocessing().adapt(TABLE)
    layer = TableEmbedding(preprocessing, 5)
    rows = preprocessing.encode({"age": [20.0, np.nan, 40.0], "job": ["clerk", "pilot", ""]})
    tokens = ops.convert_to_numpy(layer(rows))
    table, bias = (ops.convert_to_numpy(v) for v in (layer.table, layer.bias))
    ages = [rows[0, 0] * table[0], table[1], rows[2, 0] * table[0]]
    np.testing.assert_allclose(tokens[:, 0], np.stack(ages) + bias[0], rtol=1e-5, atol=1e-6)
    # of an unseen and of a missing job fitting had no example: the column's bias alone
    np.testing.assert_allclose(
        tokens[:, 1], np.stack([table[5], 0 * bias[1], 0 * bias[1]]) + bias[1], atol=1e-6
    )
    assert not np.allclose(table[:2], bias)


def test_config_round_trip():
    layer = TableEmbedding(TablePreprocessing().adapt(TABLE), 4)
    again = TableEmbedding.from_config(layer.get_config())
    rows = layer.preprocessing.encode(TABLE)
    layer(rows), again(rows)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(rows)), ops.convert_to_numpy(again(rows)))
