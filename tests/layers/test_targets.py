"""What hidden tokens are to say, against NumPy."""

import numpy as np
import pytest
from keras import ops

from tftransfer import backbones
from tftransfer.layers import TablePreprocessing, normalize_patches, patchify, row_targets, token_targets

pytestmark = pytest.mark.compute

TABLE = {
    "age": np.array([20.0, 40.0, np.nan, 60.0]),
    "job": np.array(["cook", "clerk", "cook", ""]),
    "town": np.array(["a", "b", "c", "c"]),
}


@pytest.mark.parametrize("rank", [3, 2], ids=["a prediction a token", "one prediction"])
def test_columns(rank):
    preprocessing = TablePreprocessing().adapt(TABLE)
    targets = row_targets(backbones.mlp(preprocessing, units=(4,)))
    rows = preprocessing.encode(TABLE)
    p = np.random.default_rng(0).normal(size=(4, 3, 11) if rank == 3 else (4, 11)).astype("float32")
    errors = ops.convert_to_numpy(targets.error(p, targets(rows)))
    assert targets.grid == (3,) and targets.values == 11
    p = np.broadcast_to(p if rank == 3 else p[:, None], (4, 3, 11)).astype("float64")
    places = {1: slice(3, 6), 2: slice(7, 11)}  # unseen and each category, without "missing"
    for i in range(4):
        expected = 0 if np.isnan(TABLE["age"][i]) else (p[i, 0, 0] - rows[i, 0]) ** 2
        assert errors[i, 0] == pytest.approx(expected, rel=1e-5)
        for j, place in places.items():
            logits = p[i, j, place]
            chosen = int(rows[i, j]) - 1
            expected = 0 if chosen < 0 else np.log(np.exp(logits).sum()) - logits[chosen]
            assert errors[i, j] == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_a_perfect_answer_costs_nothing():
    preprocessing = TablePreprocessing().adapt(TABLE)
    targets = token_targets(backbones.table_transformer(preprocessing, width=8, depth=1, num_heads=2))
    rows = preprocessing.encode(TABLE)
    sure = ops.convert_to_numpy(preprocessing.one_hot(rows))
    sure[:, 1:] *= 100
    np.testing.assert_allclose(ops.convert_to_numpy(targets.error(sure, rows)), 0, atol=1e-5)


@pytest.mark.parametrize("normalize", [False, True])
def test_patches(normalize):
    targets = token_targets(
        backbones.vit((8, 8, 1), patch_size=4, width=8, depth=1, num_heads=1), normalize=normalize
    )
    x, p = np.random.default_rng(0).random((2, 2, 8, 8, 1)).astype("float32")
    expected = patchify(ops.convert_to_tensor(x), 4)
    expected = ops.convert_to_numpy(normalize_patches(expected) if normalize else expected)
    np.testing.assert_allclose(ops.convert_to_numpy(targets(x)), expected, atol=1e-6)
    p = p.reshape(2, 4, 16)
    errors = ops.convert_to_numpy(targets.error(p, expected))
    np.testing.assert_allclose(errors, ((p - expected) ** 2).mean(-1), rtol=1e-5)


def test_plain_rows():
    targets = row_targets(backbones.mlp((3,), units=(4,)))
    x, p = np.random.default_rng(0).random((2, 5, 3)).astype("float32")
    np.testing.assert_allclose(ops.convert_to_numpy(targets.error(p, targets(x))), (p - x) ** 2, rtol=1e-5)
