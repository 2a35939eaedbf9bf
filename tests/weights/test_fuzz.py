"""Files with random damage: a clear error or the right weights, never a crash, a hang, or wrong weights."""

import collections
import os

import keras
import numpy as np
import pytest

from tftransfer.weights import load_backbone, probe, save_backbone, transfer_weights
from tftransfer.weights.seal import MAGIC, add_seal

NUMBERS = [0, 1, 96, 800, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1]
FILES = int(os.environ.get("TFTRANSFER_FUZZ", "2000"))  # of the slow test, together; 10,000 take minutes
# of them without a seal that tells of the damage: each of these takes a process of its own, a third of a second
UNSEALED = int(os.environ.get("TFTRANSFER_FUZZ_UNSEALED", "50"))
SECONDS = 10.0  # until a file counts as one that hangs


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


def weights_after(path, data, load, seal=False):
    """The weights that loading gives, or None for a clear error."""
    path.write_bytes(data)
    if seal:
        add_seal(path)
        probe_again()
    try:
        return load(path)
    except (ValueError, OSError) as error:
        assert str(path) in str(error), error
        return None


def probe_again():
    """Forgets which files this process has made: the damaged one comes from elsewhere."""
    from tftransfer.weights.seal import known

    known.clear()


def differing(found, model):
    return sum(int((a != b).sum()) for a, b in zip(found, model.get_weights(), strict=True))


def check_ours(tmp_path, count, seed, resealed=False):
    """Damage to our files; `resealed`: under a seal made anew, so that all of the file's inside is read."""
    model, path = build(), tmp_path / "x.weights.h5"
    data, random = save_backbone(model, path).read_bytes(), np.random.default_rng(seed)
    if resealed:
        data = data[: data.rindex(MAGIC)]
    counts = collections.Counter()
    for _ in range(count):
        damaged = mutate(data, random)
        found = weights_after(path, damaged, lambda path: load_backbone(path).get_weights(), resealed)
        counts["refused" if found is None else "right"] += 1
        assert found is None or differing(found, model) == 0, "silently wrong weights"
    assert resealed or counts["right"] < count / 5
    return counts


def check_others(tmp_path, count, seed, name):
    """Files that others write have no checksums: changed numbers cannot be noticed, but all else."""
    model, other, path = build(), build(), tmp_path / name
    model.save_weights(path) if name.endswith(".weights.h5") else model.save(path)
    data, random = path.read_bytes(), np.random.default_rng(seed)
    counts = collections.Counter()

    def load(path):
        transfer_weights(path, other).verify().assert_loaded()
        return other.get_weights()

    for _ in range(count):
        damaged = mutate(data, random)
        found = weights_after(path, damaged, load)
        changed = 0 if found is None else differing(found, model)
        counts["refused" if found is None else "other numbers" if changed else "right"] += 1
        if len(damaged) == len(data):  # where bytes stay in place, so does every number
            assert changed <= sum(a != b for a, b in zip(damaged, data, strict=True)), (
                "weights were misplaced"
            )
    return counts


def test_damage_to_our_files(tmp_path):
    check_ours(tmp_path, 300, seed=0)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("name", ["resealed.weights.h5", "x.weights.h5", "x.h5", "x.keras"])
def test_damage_that_no_seal_tells_of(tmp_path, monkeypatch, name):
    monkeypatch.setattr(probe, "SECONDS", SECONDS)
    if name.startswith("resealed"):
        check_ours(tmp_path, 4, seed=0, resealed=True)
    else:
        check_others(tmp_path, 4, seed=0, name=name)


@pytest.mark.slow
@pytest.mark.timeout(120 + 2 * UNSEALED)
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_thousands_of_damaged_files(tmp_path, monkeypatch, capsys):
    """TFTRANSFER_FUZZ_UNSEALED says how many of them are read to the end."""
    monkeypatch.setattr(probe, "SECONDS", SECONDS)
    half, tenth = UNSEALED // 2, UNSEALED // 10
    found = {
        "ours": check_ours(tmp_path, FILES - UNSEALED, seed=1),
        "ours, sealed anew": check_ours(tmp_path, half, seed=2, resealed=True),
        "older .h5": check_others(tmp_path, tenth, seed=3, name="x.h5"),
        ".keras": check_others(tmp_path, tenth, seed=4, name="x.keras"),
    }
    rest = FILES - sum(sum(counts.values()) for counts in found.values())
    found["plain .weights.h5"] = check_others(tmp_path, rest, seed=5, name="x.weights.h5")
    with capsys.disabled():
        print("\n", *(f"{name}: {dict(counts)}\n" for name, counts in found.items()))
