"""Reading and resizing pictures."""

import numpy as np
import pytest
from PIL import Image

from tftransfer.data import pictures


@pytest.mark.parametrize(
    ("given", "size"), [(None, None), (8, (8, 8)), ([8, 9], (8, 9)), (np.int64(4), (4, 4))]
)
def test_size_of(given, size):
    assert pictures.size_of(given) == size


@pytest.mark.parametrize("given", [0, -3, (1, 2, 3), 1.5])
def test_size_of_refuses(given):
    with pytest.raises(ValueError, match="image_size"):
        pictures.size_of(given)


def test_crop_is_central_and_keeps_proportions():
    x = np.zeros((1, 10, 30, 1), np.uint8)
    x[:, :, 10:20] = 200  # the middle square
    for picture in (x, np.swapaxes(x, 1, 2)):
        fitted = pictures.fit_pictures(picture, 5)[0, :, :, 0]
        assert fitted.shape == (5, 5) and (fitted[1:-1, 1:-1] == 200).all() and fitted.min() > 150


def test_float_pictures_keep_dtype_and_mean():
    x = np.random.default_rng(0).random((3, 8, 8, 2), np.float32)
    resized = pictures.fit_pictures(x, 4)
    assert resized.dtype == np.float32 and resized.shape == (3, 4, 4, 2)
    np.testing.assert_allclose(resized.mean(axis=(1, 2)), x.mean(axis=(1, 2)), atol=0.05)


def test_resizing_vectors_raises():
    with pytest.raises(ValueError, match="resizes pictures"):
        pictures.fit_pictures(np.zeros((3, 8)), 4)


@pytest.mark.parametrize(
    ("mode", "grey"),
    [("L", True), ("RGB", False), ("RGBA", False), ("LA", True), ("1", True), ("I;16", True)],
)
def test_modes(tmp_path, mode, grey):
    value = {"L": 128, "1": 1, "I;16": 128 * 257}.get(mode, (128,) * len(mode.replace(";16", "")))
    Image.new(mode, (6, 4), value).save(tmp_path / "p.png")
    assert pictures.inspect_picture(tmp_path / "p.png") == (4, 6, grey)
    for channels in (1, 3):
        picture = pictures.read_picture(tmp_path / "p.png", channels)
        assert picture.shape == (4, 6, channels) and picture.dtype == np.uint8
        assert (picture == (255 if mode == "1" else 128)).all()


def test_palettes(tmp_path):
    Image.new("RGB", (4, 4), (255, 0, 0)).convert("P").save(tmp_path / "p.png")
    assert not pictures.inspect_picture(tmp_path / "p.png")[2]
    assert pictures.read_picture(tmp_path / "p.png", 3)[0, 0].tolist() == [255, 0, 0]


def test_camera_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (8, 4)).save(tmp_path / "p.jpg", exif=exif)
    assert pictures.inspect_picture(tmp_path / "p.jpg")[:2] == (8, 4)
    assert pictures.read_picture(tmp_path / "p.jpg", 3).shape == (8, 4, 3)
