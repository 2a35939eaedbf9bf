import keras
import numpy as np
import pytest

from tftransfer.layers import pool


@pytest.mark.compute
@pytest.mark.parametrize("shape", [(3, 7), (3, 5, 7), (3, 4, 5, 7)], ids=str)
@pytest.mark.parametrize("kind", ["auto", "mean", "max", "flatten"])
def test_pools_every_rank(kind, shape):
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    layer = pool((None, *shape[1:]), kind=kind, name="mine")
    places = x.reshape(3, -1, 7).astype("float64")
    expected = {"max": places.max(1), "flatten": x.reshape(3, -1)}.get(kind, places.mean(1))
    np.testing.assert_allclose(np.asarray(layer(x)), expected, atol=1e-6)
    assert layer.name == "mine" and layer.compute_output_shape((None, *shape[1:])) == (
        None,
        expected.shape[1],
    )


@pytest.mark.parametrize("shape, kind", [((None,), "mean"), ((None, 1, 2, 3, 4), "mean"), ((None, 3), "sum")])
def test_refused(shape, kind):
    with pytest.raises(ValueError, match="Cannot pool"):
        pool(shape, kind=kind)


def test_vectors_are_not_changed():
    assert isinstance(pool((None, 4), kind="max"), keras.layers.Identity)
