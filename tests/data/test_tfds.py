"""TensorFlow Datasets by name."""

import time

import keras
import numpy as np
import pytest

from tftransfer.data import batches, load, pictures, tfds

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="TFDS is read with TensorFlow"
)


def test_unknown_name_offers_near_ones():
    with pytest.raises(ValueError, match="fashion_mnist"):
        load("fashion_mnst")


def test_without_internet_and_originals_fails_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds, "_reachable", lambda url: False)
    begun = time.monotonic()
    with pytest.raises(ConnectionError, match=r"cifar-10-binary\.tar\.gz.*manual_dir="):
        load("cifar10", data_dir=tmp_path)
    assert time.monotonic() - begun < 10
    with pytest.raises(FileNotFoundError, match="manual_dir"):
        load("cifar10", data_dir=tmp_path, manual_dir=tmp_path / "none")


def test_originals_are_looked_for_by_name(tmp_path):
    builder = tfds.find_builder("fashion_mnist", data_dir=str(tmp_path))
    assert len(tfds.missing_originals(builder, tmp_path)) == 4
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(b"")
    assert "t10k-images-idx3-ubyte.gz" not in tfds.missing_originals(builder, tmp_path).values()
    manual = tmp_path / "downloads" / "manual"
    manual.mkdir(parents=True)
    (manual / "train-labels-idx1-ubyte.gz").write_bytes(b"")
    assert len(tfds.missing_originals(builder, None)) == 3


def test_an_unanswering_server_is_noticed():
    assert not tfds._reachable("http://localhost:9/", seconds=2)
    assert not tfds._reachable("no url")


@pytest.fixture
def mocked(monkeypatch):
    import tensorflow_datasets

    monkeypatch.setattr(tfds, "prepare", lambda builder, manual_dir: None)
    with tensorflow_datasets.testing.mock_data(num_examples=7):
        yield


def test_reads_into_memory(mocked):
    examples = load("cifar10", split="test")
    assert examples.x.shape == (7, 32, 32, 3) and examples.x.dtype == np.uint8
    assert examples.y.shape == (7,) and len(examples.class_names) == 10
    assert examples.name == "cifar10/test"


def test_pictures_of_different_sizes_need_image_size(mocked):
    with pytest.raises(ValueError, match="image_size="):
        load("oxford_flowers102")
    assert load("oxford_flowers102", image_size=16).x.shape == (7, 16, 16, 3)


def test_beyond_the_memory_limit_read_on_demand(mocked):
    dataset = load("cifar10", memory_limit=1000)
    assert len(dataset.class_names) == 10
    x, y = next(iter(batches(dataset, batch_size=4)))
    assert x.shape == (4, 32, 32, 3) and x.dtype == "float32" and y.shape == (4,)


def test_resizes_as_pictures_do():
    x = keras.ops.convert_to_numpy(keras.random.uniform((12, 20, 3), 0, 255, seed=0)).astype("uint8")
    smooth = np.asarray(pictures.fit_pictures(x[None], (48, 80)))[0]  # no pixel noise
    ours = tfds._fit(smooth, (16, 16)).numpy().astype(int)
    assert np.abs(ours - pictures.fit_pictures(smooth[None], 16)[0]).mean() < 2


@pytest.mark.slow
def test_fashion_mnist_from_local_originals(shared_data, tmp_path):
    where = {"data_dir": tmp_path, "manual_dir": shared_data / "fashion_mnist"}
    test = load("fashion_mnist", split="test", **where)
    assert test.x.shape == (10000, 28, 28, 1) and np.bincount(test.y).tolist() == [1000] * 10
    assert test.class_names[9] == "Ankle boot"
    some = load(
        "fashion_mnist", split="train[:500]", data_dir=tmp_path
    )  # prepared: the originals are not needed
    assert some.size == 500
    with pytest.raises(ValueError, match="test, train"):
        load("fashion_mnist", split="validation", data_dir=tmp_path)


def test_advice_to_the_authors_of_tfds_does_not_bury_ours(mocked, caplog):
    import logging

    load("cifar10", split="test")
    logging.getLogger("absl").warning("something that matters")
    said = [record.getMessage() for record in caplog.records]
    assert "something that matters" in said
    assert not any("FeatureConnector.dtype" in line for line in said)
