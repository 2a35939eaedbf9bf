import os
from pathlib import Path

import pytest

from tftransfer.weights.files import atomic_write, check_name


def test_writes_whole_and_creates_folders(tmp_path):
    path = tmp_path / "a" / "b" / "x.weights.h5"
    with atomic_write(path) as temporary:
        assert temporary.parent == path.parent and temporary.name.endswith(".weights.h5")
        temporary.write_bytes(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert os.listdir(path.parent) == ["x.weights.h5"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.weights.h5"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="half way"), atomic_write(path) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError("half way")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.weights.h5"]


def test_permissions_and_links_are_kept(tmp_path):
    real, link = tmp_path / "real.weights.h5", tmp_path / "link.weights.h5"
    real.write_bytes(b"old")
    real.chmod(0o640)
    link.symlink_to(real)
    with atomic_write(link) as temporary:
        temporary.write_bytes(b"new")
    assert link.is_symlink() and real.read_bytes() == b"new"
    assert real.stat().st_mode & 0o777 == 0o640


def test_leftovers_of_killed_processes_are_removed(tmp_path):
    path = tmp_path / "x.weights.h5"
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"1")
        name = temporary.name
    dead = tmp_path / name.replace(f"-{os.getpid()}-", "-999999999-")
    living = tmp_path / name.replace(f"-{os.getpid()}-", f"-{os.getppid()}-")
    other = tmp_path / ".y.tmp-somewhere-1-abc.weights.h5"
    for file in (dead, living, other):
        file.write_bytes(b"left")
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"2")
    assert sorted(os.listdir(tmp_path)) == sorted([path.name, living.name, other.name])


def test_unwritable_places_are_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    for path in (tmp_path / "file" / "x.weights.h5", Path("/proc/nowhere/x.weights.h5"), tmp_path):
        with pytest.raises(OSError, match="Could not write") as raised, atomic_write(path) as temporary:
            temporary.write_bytes(b"new")
        assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    "wrong", ["x.h5", "x.keras", "x", ".weights.h5", None, 3, "gs://bucket/x.weights.h5"]
)
def test_keras_needs_the_suffix(wrong):
    with pytest.raises(ValueError, match=r"weights\.h5|path of a weights file|local folders"):
        check_name(wrong)


def test_the_suffix_is_enough(tmp_path):
    assert check_name(str(tmp_path / "run.weights.h5")) == tmp_path / "run.weights.h5"
