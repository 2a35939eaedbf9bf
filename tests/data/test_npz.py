"""`.npz` files."""

import numpy as np
import pytest

from tftransfer.data import load, load_npz


def test_x_and_y(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros((4, 8, 8, 1), "uint8"), y=[[0], [1], [0], [1]], class_names=["cat", "dog"])
    examples = load(str(path), image_size=16)
    assert examples.x.shape == (4, 16, 16, 1) and examples.x.dtype == np.uint8
    assert examples.y.tolist() == [0, 1, 0, 1] and examples.class_names == ["cat", "dog"]


@pytest.mark.parametrize("pattern", ["{stem}_{split}", "{split}_{stem}"])
def test_splits(tmp_path, pattern):
    path = tmp_path / "b.npz"
    stems = ("x", "y") if pattern.startswith("{stem}") else ("images", "labels")
    arrays = {}
    for split, count in (("train", 6), ("test", 2)):
        for stem in stems:
            arrays[pattern.format(stem=stem, split=split)] = np.zeros(count, int)
    np.savez_compressed(path, **arrays)
    assert load_npz(path).size == 6 and load_npz(path).name == "b/train"
    assert load_npz(path, split="test").size == 2
    with pytest.raises(ValueError, match=r"x_val.*holds"):
        load_npz(path, split="val")


def test_unlabelled(tmp_path):
    np.savez(tmp_path / "c.npz", x=np.zeros((3, 2)))
    assert load_npz(tmp_path / "c.npz").y is None


def test_pickled_objects_are_refused(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="plain numeric arrays"):
        load_npz(tmp_path / "d.npz")


def test_broken_and_missing_files(tmp_path):
    (tmp_path / "e.npz").write_bytes(b"not a zip")
    with pytest.raises(ValueError, match=r"not an .npz"):
        load_npz(tmp_path / "e.npz")
    np.savez(tmp_path / "f.npz", x=np.zeros((3, 200)))
    content = (tmp_path / "f.npz").read_bytes()
    (tmp_path / "f.npz").write_bytes(content[:1000])
    with pytest.raises(ValueError, match="cut short"):
        load_npz(tmp_path / "f.npz")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.npz")


def test_memory_limit(tmp_path):
    np.savez(tmp_path / "g.npz", x=np.zeros((100, 100)))
    with pytest.raises(ValueError, match="memory_limit"):
        load_npz(tmp_path / "g.npz", memory_limit=1000)
