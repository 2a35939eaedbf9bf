"""Rows on disk are those that were written, in any order; what is not whole is never read."""

import errno
import json

import numpy as np
import pytest

from tftransfer.finetuning import shards
from tftransfer.finetuning.shards import INDEX, Shards, write_shards

ROWS = np.random.default_rng(0).normal(size=(50, 3, 2)).astype("float32")


def written(folder, **options):
    parts = np.array_split(ROWS, 13)
    return write_shards(folder, iter(parts), shard_bytes=240, **options)


def test_rows_in_any_order(tmp_path):
    found = written(tmp_path / "rows")
    assert len(list((tmp_path / "rows").glob("*.npy"))) > 3 and [p.name for p in tmp_path.iterdir()] == [
        "rows"
    ]
    assert found.shape == (50, 3, 2) and len(found) == 50
    order = np.random.default_rng(1).permutation(50)
    np.testing.assert_array_equal(found[order], ROWS[order])
    np.testing.assert_array_equal(found[7:31], ROWS[7:31])
    np.testing.assert_array_equal(found[np.array([3, 3, 49])], ROWS[[3, 3, 49]])
    assert max(path.stat().st_size for path in (tmp_path / "rows").glob("*.npy")) < 240 + 96 + 128


def test_half_the_room(tmp_path):
    found = written(tmp_path / "rows", dtype="float16")
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found[:], ROWS.astype("float16"))


@pytest.mark.parametrize("harm", ["cut", "missing", "no index", "bad index", "count", "flipped"])
def test_what_is_not_whole_is_not_read(tmp_path, harm):
    folder = tmp_path / "rows"
    written(folder)
    file, index = folder / "00001.npy", folder / INDEX
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:-8])
    elif harm == "missing":
        file.unlink()
    elif harm == "no index":
        index.unlink()
    elif harm == "bad index":
        index.write_text(index.read_text()[:-20])
    elif harm == "count":
        record = json.loads(index.read_text())
        index.write_text(json.dumps(record | {"files": record["files"][:-1]}))
    else:
        content = bytearray(file.read_bytes())
        content[-3] ^= 1
        file.write_bytes(content)
    with pytest.raises(ValueError, match=r"not whole|not what was written"):
        Shards(folder, check=True)


@pytest.mark.parametrize("when", ["rows", "index"])
def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch, when):
    plain = shards.atomic_write

    def full(path):
        if path.name == (INDEX if when == "index" else "00002.npy"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return plain(path)

    monkeypatch.setattr(shards, "atomic_write", full)
    with pytest.raises(OSError, match="No space left"):
        written(tmp_path / "rows")
    assert not list(tmp_path.iterdir())


def test_whoever_comes_second_reads_what_is_there(tmp_path):
    written(tmp_path / "rows")
    np.testing.assert_array_equal(written(tmp_path / "rows")[:], ROWS)
    assert [path.name for path in tmp_path.iterdir()] == ["rows"]
