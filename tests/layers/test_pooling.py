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


@pytest.mark.compute
@pytest.mark.parametrize("kind", ["auto", "mean", "max", "first", "last"])
def test_padding_of_texts_does_not_count(kind):
    x = (
        np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32") - 3
    )  # all below the zeros of padding
    for row, length in enumerate((5, 2, 0)):
        x[row, length:] = 0
    layer = pool((None, None, 4), kind=kind)
    found = np.asarray(layer(x))
    for row, length in enumerate((5, 2)):
        known = x[row, :length].astype("float64")
        expected = {"max": known.max(0), "first": known[0], "last": known[-1]}.get(kind, known.mean(0))
        np.testing.assert_allclose(found[row], expected, atol=1e-6)
    assert not found[2].any()
    np.testing.assert_allclose(
        np.asarray(layer(x[:2, :3])),
        np.asarray(layer(np.pad(x[:2, :3], ((0, 0), (0, 4), (0, 0))))),
        atol=1e-6,
    )
    assert layer.compute_output_shape((None, None, 4)) == (None, 4)
    assert type(layer).from_config(layer.get_config()).kind == layer.kind


def test_first_and_last_are_of_tokens():
    assert np.asarray(pool((None, 3, 2), kind="last")(np.ones((1, 3, 2)))).tolist() == [[1.0, 1.0]]
    with pytest.raises(ValueError, match="of tokens 'first' or 'last'"):
        pool((None, 4, 4, 2), kind="first")
