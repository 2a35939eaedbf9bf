import numpy as np
import pytest

from tftransfer.weights.record import checksum, plain, versions


def test_checksums_tell_values_types_and_shapes_apart():
    value = np.arange(6, dtype="float32").reshape(2, 3)
    different = [
        value + 1,
        value.astype("float64"),
        value.reshape(3, 2),
        value.astype("int32"),
        np.asfortranarray(value) * -1,
    ]
    sums = [checksum(value), *map(checksum, different)]
    assert len(set(sums)) == len(sums) and all(len(s) == 16 for s in sums)
    assert checksum(np.asfortranarray(value)) == checksum(value) == checksum(value[::1])
    assert checksum(np.float32(3)) != checksum(np.float32(4)) and checksum(np.zeros((0, 3)))


def test_plain_values():
    assert plain({"a": (np.float32(0.5), np.arange(2)), "b": None}, "x") == {"a": [0.5, [0, 1]], "b": None}
    for wrong in (object(), {"f": print}, {(1, 2): 3}):
        with pytest.raises(ValueError, match=r"^history cannot be kept"):
            plain(wrong, "history")


def test_versions_name_what_numbers_depend_on():
    found = versions()
    assert {"keras", "backend", "numpy", "python", "h5py"} <= found.keys()
    assert all(isinstance(version, str) for version in found.values())
