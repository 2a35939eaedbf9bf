"""Folders of pictures."""

import zipfile

import keras
import numpy as np
import pytest
from PIL import Image

from tftransfer.data import Examples, batches, load, load_folder


def draw(path, value, size=(8, 6), mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


@pytest.fixture
def classes(tmp_path):
    for i, name in enumerate(["cat", "dog"]):
        for j in range(3):
            draw(tmp_path / name / f"{j}.png", 100 * i + j)
    return tmp_path


def test_class_folders(classes):
    (classes / ".hidden").mkdir()
    (classes / "cat" / ".thumb.png").write_bytes(b"junk")
    (classes / "cat" / "notes.txt").write_text("no picture")
    examples = load(classes)
    assert examples.x.shape == (6, 6, 8, 1) and examples.x.dtype == np.uint8
    assert examples.x[:, 0, 0, 0].tolist() == [0, 1, 2, 100, 101, 102]
    assert examples.y.tolist() == [0, 0, 0, 1, 1, 1] and examples.class_names == ["cat", "dog"]
    assert load(str(classes), image_size=4).x.shape == (6, 4, 4, 1)


def test_one_colour_picture_makes_all_colour(classes):
    draw(classes / "dog" / "9.png", (1, 2, 3), mode="RGB")
    examples = load_folder(classes)
    assert examples.x.shape == (7, 6, 8, 3)
    assert examples.x[1, 0, 0].tolist() == [1, 1, 1] and examples.x[6, 0, 0].tolist() == [1, 2, 3]


def test_deeper_folders_belong_to_their_class(classes):
    draw(classes / "cat" / "black" / "a.png", 50)
    assert load_folder(classes).y.tolist() == [0] * 4 + [1] * 3


def test_unlabelled(tmp_path):
    for i in range(3):
        draw(tmp_path / f"{i}.jpg", i)
    examples = load_folder(tmp_path)
    assert examples.y is None and examples.size == 3 and examples.class_names is None


def test_splits(tmp_path):
    for split, count in (("train", 3), ("test", 1)):
        for i in range(count):
            draw(tmp_path / split / "cat" / f"{i}.png", i)
            draw(tmp_path / split / "dog" / f"{i}.png", i)
    assert load_folder(tmp_path).size == 6
    assert load_folder(tmp_path, split="test").size == 2
    with pytest.raises(ValueError, match=r"no folder 'validation'.*\['test', 'train'\]"):
        load_folder(tmp_path, split="validation")


def test_a_class_may_be_called_train(tmp_path):
    for name in ("bus", "train"):
        draw(tmp_path / name / "0.png", 0)
    assert load_folder(tmp_path).class_names == ["bus", "train"]


def test_unclear_folders_raise(classes, tmp_path_factory):
    with pytest.raises(ValueError, match="holds no pictures"):
        load_folder(tmp_path_factory.mktemp("empty"))
    (classes / "empty").mkdir()
    with pytest.raises(ValueError, match=r"\['empty'\]"):
        load_folder(classes)
    draw(classes / "empty" / "a.png", 0, size=(9, 9))
    with pytest.raises(ValueError, match="image_size="):
        load_folder(classes)
    draw(classes / "loose.png", 0)
    with pytest.raises(ValueError, match="loose"):
        load_folder(classes)


def test_every_unreadable_picture_is_named(classes):
    (classes / "cat" / "bad.png").write_bytes(b"this is no picture")
    with pytest.raises(ValueError, match=r"1 of 7.*\n.*bad\.png"):
        load_folder(classes)
    (classes / "cat" / "bad.png").unlink()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(classes / "dog" / "short.jpg")
    whole = (classes / "dog" / "short.jpg").read_bytes()
    (classes / "dog" / "short.jpg").write_bytes(whole[: len(whole) // 2])  # its header is fine
    with pytest.raises(ValueError, match=r"short\.jpg"):
        load_folder(classes, image_size=8)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="reads on demand by tf.data")
def test_beyond_the_memory_limit_read_on_demand(classes):
    whole = load_folder(classes)
    dataset = load_folder(classes, memory_limit=100)
    assert dataset.class_names == ["cat", "dog"] and int(dataset.cardinality()) == 6
    seen = sorted((int(x[0, 0, 0]), int(y)) for x, y in dataset)
    assert seen == sorted(zip(whole.x[:, 0, 0, 0].tolist(), whole.y.tolist(), strict=True))
    x, _ = next(iter(batches(dataset, batch_size=4)))
    assert x.shape == (4, 6, 8, 1) and x.dtype == "float32" and float(np.max(x)) < 0.41


@pytest.mark.slow
def test_photos(shared_data, tmp_path):
    with zipfile.ZipFile(shared_data / "clothing_small" / "clothing_small_128.zip") as archive:
        archive.extractall(tmp_path, [name for name in archive.namelist() if name.startswith("test/")])
    examples = load(tmp_path, split="test", image_size=64)
    assert isinstance(examples, Examples) and examples.x.shape == (372, 64, 64, 3)
    assert len(examples.class_names) == 10 and len(np.unique(examples.y)) == 10
    with pytest.raises(ValueError, match="image_size"):
        load(tmp_path, split="test")
