"""Files with random damage: a clear error or the right weights, never a crash, a hang, or wrong weights."""

import keras
import numpy as np
import pytest

from tftransfer.weights import load_backbone, probe, save_backbone, transfer_weights

NUMBERS = [0, 1, 96, 800, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1]


def build():
    dense = (
        keras.layers.Dense(2, name="a"),
        keras.layers.BatchNormalization(name="n"),
        keras.layers.Dense(2, name="b"),
    )
    return keras.Sequential([keras.Input((3,)), *dense], name="encoder")


def mutate(data, random):
    """Flips bits, writes bytes, truncates, blanks, inserts, deletes, or writes a number of eight bytes."""
    new, at = bytearray(data), int(random.integers(len(data)))
    kind = random.integers(7)
    if kind == 0:
        for place in random.integers(len(data), size=random.integers(1, 4)):
            new[place] ^= 1 << int(random.integers(8))
    elif kind == 1:
        for place in random.integers(len(data), size=random.integers(1, 30)):
            new[place] = random.integers(256)
    elif kind == 2:
        del new[at:]
    elif kind == 3:
        end = min(len(data), at + int(random.integers(1, 200)))
        new[at:end] = bytes(end - at)
    elif kind == 4:
        new[at:at] = random.bytes(int(random.integers(1, 50)))
    elif kind == 5:
        del new[at : at + int(random.integers(1, 100))]
    else:
        new[at // 8 * 8 : at // 8 * 8 + 8] = NUMBERS[random.integers(len(NUMBERS))].to_bytes(8, "little")
    return bytes(new)


def weights_after(path, data, load):
    """The weights that loading gives, or None for a clear error."""
    path.write_bytes(data)
    try:
        return load(path)
    except (ValueError, OSError) as error:
        assert str(path) in str(error), error
        return None


def check_ours(tmp_path, count, seed):
    model, path = build(), tmp_path / "x.weights.h5"
    data, random = save_backbone(model, path).read_bytes(), np.random.default_rng(seed)
    loaded = 0
    for _ in range(count):
        found = weights_after(path, mutate(data, random), lambda path: load_backbone(path).get_weights())
        if found is not None:
            loaded += 1
            assert all(np.array_equal(a, b) for a, b in zip(found, model.get_weights(), strict=True))
    assert loaded < count / 5


def check_plain(tmp_path, count, seed):
    """Without checksums wrong numbers cannot be noticed; but all else."""
    model, path = build(), tmp_path / "x.weights.h5"
    model.save_weights(path)
    data, random = path.read_bytes(), np.random.default_rng(seed)
    for _ in range(count):
        weights_after(path, mutate(data, random), lambda path: transfer_weights(path, model).verify())


def test_damage_to_our_files(tmp_path):
    check_ours(tmp_path, 300, seed=0)


def test_damage_to_files_of_keras(tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "SECONDS", 10.0)
    check_plain(tmp_path, 8, seed=0)


@pytest.mark.slow
def test_ten_thousand_damaged_files(tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "SECONDS", 10.0)
    check_ours(tmp_path, 9_900, seed=1)
    check_plain(tmp_path, 100, seed=1)
