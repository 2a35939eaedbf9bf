"""Lists of ids as rows: nothing lost, nothing mixed up."""

import numpy as np
import pytest

from tftransfer.layers.tokenizer_rows import cut_pair, list_of, padded


@pytest.mark.parametrize(
    ("a", "b", "room", "expected"),
    [
        (3, 3, 10, (3, 3)),  # both fit
        (9, 2, 6, (4, 2)),  # the longer one gives way
        (2, 9, 6, (2, 4)),
        (9, 9, 6, (3, 3)),
        (9, 9, 7, (3, 4)),
        (0, 9, 4, (0, 4)),
    ],
)
def test_pairs_are_cut_to_fit(a, b, room, expected):
    first, second = cut_pair(list(range(a)), list(range(100, 100 + b)), room)
    assert (len(first), len(second)) == expected
    assert first == list(range(len(first))) and second == list(range(100, 100 + len(second)))


def test_rows_are_padded_behind():
    found = padded([[1, 2, 3], [], [4]], 4)
    assert found.tolist() == [[1, 2, 3, 0], [0] * 4, [4, 0, 0, 0]] and found.dtype == "int32"
    assert padded([], 3).shape == (0, 3)


def test_texts_come_as_a_list():
    assert list_of(["a", "b"]) == ["a", "b"] and list_of(("a",)) == ("a",)
    assert list_of(np.array([["a"], ["b"]])) == ["a", "b"]
    for one in ("a text", b"a text"):
        with pytest.raises(ValueError, match="received a single one"):
            list_of(one)
