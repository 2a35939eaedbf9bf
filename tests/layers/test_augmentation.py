import keras
import numpy as np
import pytest

from tftransfer.layers import RandomView

PLAIN = {"flip": False, "color_jitter": 0.0, "grey": 0.0}
WHOLE = {"crop_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0)}


def pictures(b=6, h=8, w=8, c=3, seed=0):
    return np.random.default_rng(seed).random((b, h, w, c), dtype="float32")


def numpy(x):
    return keras.ops.convert_to_numpy(x)


def with_draws(monkeypatch, draws):
    """Gives the layer these random numbers (batch, 11)."""
    monkeypatch.setattr(
        "tftransfer.layers.augmentation.placement.per_example",
        lambda draw, batch: np.asarray(draws, "float32"),
    )


def bilinear(image, top, left, height, width):
    """The crop, resized to the picture's own size, pixel by pixel; centres of pixels lie at half places."""
    h, w, _ = image.shape
    out = np.zeros_like(image, dtype="float64")
    for i in range(h):
        for j in range(w):
            y = np.clip(top + (i + 0.5) * height / h - 0.5, 0, h - 1)
            x = np.clip(left + (j + 0.5) * width / w - 0.5, 0, w - 1)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, h - 1), min(x0 + 1, w - 1)
            fy, fx = y - y0, x - x0
            upper = (1 - fx) * image[y0, x0] + fx * image[y0, x1]
            lower = (1 - fx) * image[y1, x0] + fx * image[y1, x1]
            out[i, j] = (1 - fy) * upper + fy * lower
    return out


@pytest.mark.compute
@pytest.mark.parametrize("shape", [(8, 8, 1), (7, 10, 3), (5, 4, 2)], ids=str)
def test_whole_picture_is_unchanged(shape):
    x = pictures(4, *shape)
    np.testing.assert_allclose(numpy(RandomView(**WHOLE, **PLAIN)(x)), x, atol=1e-6)


@pytest.mark.compute
def test_flip_mirrors_about_half_and_does_nothing_else():
    x = pictures(200)
    views = numpy(RandomView(**WHOLE, **{**PLAIN, "flip": True})(x))
    same = np.abs(views - x).max(axis=(1, 2, 3)) < 1e-5
    mirrored = np.abs(views - x[:, :, ::-1]).max(axis=(1, 2, 3)) < 1e-5
    assert (same ^ mirrored).all()
    assert 70 < mirrored.sum() < 130


@pytest.mark.compute
@pytest.mark.parametrize("flip", [False, True])
def test_crop_is_bilinear_resampling(monkeypatch, flip):
    x = pictures(8, 9, 7, 3)
    draws = np.random.default_rng(1).random((8, 11))
    with_draws(monkeypatch, draws)
    views = numpy(RandomView((0.2, 0.8), (0.5, 2.0), **{**PLAIN, "flip": flip})(x))
    for i, (area, ratio, y, x_, mirror, *_) in enumerate(draws):
        area, ratio = 0.2 + area * 0.6, 0.5 * 4**ratio  # log-uniform between 1/2 and 2
        share_w, share_h = min(np.sqrt(area * ratio), 1), min(np.sqrt(area / ratio), 1)
        expected = bilinear(x[i], y * (1 - share_h) * 9, x_ * (1 - share_w) * 7, share_h * 9, share_w * 7)
        expected = expected[:, ::-1] if flip and mirror < 0.5 else expected
        np.testing.assert_allclose(views[i], expected, atol=1e-5)


@pytest.mark.compute
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_colour_is_brightness_contrast_saturation_in_turn(monkeypatch, channels):
    x = 0.4 + 0.2 * pictures(12, c=channels)  # away from the ends: nothing is clipped
    draws = np.random.default_rng(2).random((12, 11))
    with_draws(monkeypatch, draws)
    views = numpy(RandomView(**WHOLE, flip=False, color_jitter=0.3, grey=0.3)(x))
    luma = np.array([0.299, 0.587, 0.114])
    for i, draw in enumerate(draws):
        jitter = 0.3 if draw[5] < 0.8 else 0.0
        brightness, contrast, saturation = (1 + jitter * (2 * draw[k] - 1) for k in (6, 7, 8))
        expected = brightness * x[i].astype("float64")
        grey = expected @ luma if channels == 3 else expected
        expected = contrast * expected + (1 - contrast) * grey.mean()
        if channels == 3:
            saturation = 0.0 if draw[9] < 0.3 else saturation
            expected = saturation * expected + (1 - saturation) * (expected @ luma)[..., None]
        np.testing.assert_allclose(views[i], expected, atol=1e-5)
    assert (draws[:, 9] < 0.3).any() and (draws[:, 5] >= 0.8).any()  # each branch was met


@pytest.mark.compute
def test_grey_takes_the_colour_and_leaves_the_luma():
    x = pictures()
    views = numpy(RandomView(**WHOLE, flip=False, color_jitter=0.0, grey=1.0)(x))
    np.testing.assert_allclose(views, np.repeat((x @ [0.299, 0.587, 0.114])[..., None], 3, -1), atol=1e-5)
    one = pictures(c=1)
    np.testing.assert_allclose(
        numpy(RandomView(**WHOLE, flip=False, color_jitter=0.0, grey=1.0)(one)), one, atol=1e-6
    )


@pytest.mark.compute
@pytest.mark.parametrize("low, high", [(0.0, 1.0), (0.0, 255.0), (-1.0, 1.0)])
def test_results_stay_in_the_value_range(low, high):
    x = low + (high - low) * pictures(64)
    views = numpy(RandomView(color_jitter=1.0, value_range=(low, high))(x))
    assert low <= views.min() and views.max() <= high
    assert views.max() == high  # it was clipped, so the test means something
    assert views.std() > 0.1 * (high - low)


@pytest.mark.compute
def test_seeds():
    x = pictures()
    first, second = RandomView(seed=1), RandomView(seed=1)
    a, b = numpy(first(x)), numpy(second(x))
    np.testing.assert_array_equal(a, b)
    assert np.abs(numpy(first(x)) - a).max() > 0.01  # each call another view
    assert np.abs(numpy(RandomView(seed=2)(x)) - a).max() > 0.01


@pytest.mark.compute
def test_every_example_has_its_own_view():
    views = numpy(RandomView(seed=1)(np.repeat(pictures(1), 8, axis=0)))
    assert len(np.unique(views.reshape(8, -1), axis=0)) == 8


@pytest.mark.compute
def test_identity_when_not_training():
    x = pictures()
    np.testing.assert_array_equal(numpy(RandomView()(x, training=False)), x)


@pytest.mark.compute
def test_xla_compiles_it():
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), RandomView(), keras.layers.Flatten(), keras.layers.Dense(1)]
    )
    model.compile("sgd", "mse", jit_compile=True)
    history = model.fit(pictures(), np.zeros((6, 1)), batch_size=3, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_half_precision_keeps_its_type():
    view = RandomView(dtype="bfloat16")
    assert keras.backend.standardize_dtype(view(pictures()).dtype) == "bfloat16"


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"crop_scale": (0.0, 1.0)}, "crop_scale"),
        ({"crop_scale": (0.5, 0.2)}, "crop_scale"),
        ({"crop_scale": (0.5, 1.2)}, "crop_scale"),
        ({"crop_ratio": (0.0, 1.0)}, "crop_ratio"),
        ({"crop_ratio": (2.0, 1.0)}, "crop_ratio"),
        ({"color_jitter": 1.5}, "color_jitter"),
        ({"grey": -0.1}, "grey"),
        ({"value_range": (1.0, 0.0)}, "value_range"),
    ],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        RandomView(**arguments)


def test_other_data_is_refused():
    with pytest.raises(ValueError, match="takes pictures"):
        RandomView()(np.zeros((4, 8), "float32"))
    with pytest.raises(ValueError, match="one fixed size"):
        RandomView().build((None, None, None, 3))
    with pytest.raises(ValueError, match=r"float pictures.*uint8"):
        RandomView()(np.zeros((4, 8, 8, 3), "uint8"))


def test_bytes_are_read_where_their_range_is_meant():
    x = (255 * pictures()).astype("uint8")
    views = RandomView(value_range=(0.0, 255.0), seed=1)(x)
    assert keras.backend.standardize_dtype(views.dtype) == "float32"
    same = RandomView(value_range=(0.0, 255.0), seed=1)(x.astype("float32"))
    np.testing.assert_array_equal(numpy(views), numpy(same))
