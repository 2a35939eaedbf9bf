import keras
import numpy as np
import pytest

from tftransfer.layers import PatchEmbedding, patchify, unpatchify


def by_loop(images, p):
    b, h, w, c = images.shape
    rows = [
        images[:, i : i + p, j : j + p, :].reshape(b, p * p * c)
        for i in range(0, h, p)
        for j in range(0, w, p)
    ]
    return np.stack(rows, axis=1)


def random(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.compute
@pytest.mark.parametrize("shape, p", [((2, 8, 8, 3), 4), ((1, 6, 9, 1), 3), ((3, 4, 2, 2), 1)])
def test_patchify_and_back(shape, p):
    images = random(*shape)
    patches = np.asarray(patchify(images, p))
    np.testing.assert_array_equal(patches, by_loop(images, p))
    np.testing.assert_array_equal(np.asarray(unpatchify(patches, shape[1:])), images)


@pytest.mark.compute
def test_embedding_is_a_matrix_product_of_each_patch():
    layer, images = PatchEmbedding(4, 5), random(2, 8, 12, 3)
    out = np.asarray(layer(images))
    layer.bias.assign(random(5))
    kernel = np.asarray(layer.kernel, "float64").reshape(48, 5)
    expected = by_loop(images.astype("float64"), 4) @ kernel + np.asarray(layer.bias, "float64")
    np.testing.assert_allclose(np.asarray(layer(images)), expected, rtol=1e-4, atol=1e-5)
    assert out.shape == layer.compute_output_shape(images.shape) == (2, 6, 5)


def test_embedding_is_a_convolution_with_stride():
    layer, images = PatchEmbedding(4, 5), random(2, 8, 8, 3)
    layer.build(images.shape)
    convolution = keras.ops.conv(images, layer.kernel, strides=4) + layer.bias
    np.testing.assert_allclose(
        np.asarray(layer(images)), np.asarray(convolution).reshape(2, 4, 5), rtol=1e-4, atol=1e-5
    )


@pytest.mark.compute
def test_pixels_in_0_and_1_start_as_large_as_standardised_ones():
    keras.utils.set_random_seed(0)
    layer, standard = PatchEmbedding(4, 200), random(16, 32, 32, 3)
    tokens = np.asarray(layer(0.25 * standard))
    glorot = np.asarray(layer.kernel) / 4
    assert np.abs(glorot).max() <= np.sqrt(6 / (48 + 200))
    np.testing.assert_allclose(tokens, by_loop(standard, 4) @ glorot.reshape(48, 200), atol=1e-5)
    assert tokens.std() == pytest.approx(np.sqrt(2 * 48 / (48 + 200)), rel=0.05)
    assert not np.asarray(layer(np.zeros((1, 32, 32, 3)))).any()


def test_pictures_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="does not divide into patches of 4×4"):
        PatchEmbedding(4, 8)(random(1, 8, 6, 1))


@pytest.mark.parametrize("shape", [(None, None, None, 3), (None, 8, 8)], ids=str)
def test_pictures_without_a_fixed_size_are_refused(shape):
    with pytest.raises(ValueError, match="one fixed size"):
        PatchEmbedding(4, 8).build(shape)
