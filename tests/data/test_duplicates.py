"""Examples that stand in two sets: exact and near ones are found, different ones are not, in less than O(n²)."""

import numpy as np
import pytest

from tftransfer.data import duplicates, find_duplicates


def pictures(count, seed=0, side=24, channels=3):
    """Smooth random pictures, uint8: blobs, no two alike."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(0, 255, (count, 6, 6, channels))
    rows = np.clip(np.linspace(-0.5, 5.5, side), 0, 4.999)
    low = rows.astype(int)
    part = (rows - low)[None, :, None, None]
    tall = coarse[:, low] * (1 - part) + coarse[:, low + 1] * part
    part = part.transpose(0, 2, 1, 3)
    return (tall[:, :, low] * (1 - part) + tall[:, :, low + 1] * part).astype("uint8")


def rows_of(found):
    return [(pair.row, pair.reference_row) for pair in found]


def test_exact_ones_in_every_form():
    x = pictures(40)
    found = find_duplicates(x[[5, 30]], x)
    assert rows_of(found) == [(0, 5), (1, 30)]
    assert {pair.similarity for pair in found} == {1.0}
    assert rows_of(find_duplicates((x[[7]].astype("float32") / 255, [0]), (x, np.zeros(40)))) == [(0, 7)]
    tokens = np.random.default_rng(0).integers(0, 9, (50, 12))
    assert rows_of(find_duplicates(tokens[[9]], tokens)) == [(0, 9)]
    views = {"a": tokens, "b": x[np.arange(50) % 40]}
    part = {key: value[[3, 4]] for key, value in views.items()}
    assert rows_of(find_duplicates(part, views)) == [(0, 3), (1, 4)]


def test_near_ones_are_found_and_others_are_not():
    x = pictures(300)
    random = np.random.default_rng(1)
    changed = {
        "contrast": x[:50] / 255.0 * 0.7 + 0.2,
        "noise": np.clip(x[:50] / 255.0 + random.normal(0, 0.02, x[:50].shape), 0, 1),
        "resized": x[:50].repeat(2, axis=1).repeat(2, axis=2) / 255.0,
        "grey": x[:50].mean(axis=-1, keepdims=True) / 255.0,
    }
    for copies in changed.values():
        copies = copies.astype("float32")
        assert rows_of(find_duplicates(copies, x)) == [(i, i) for i in range(50)]
        assert find_duplicates(copies, x, near=False) == []
    assert find_duplicates(pictures(200, seed=9), x) == []


def test_near_signals():
    waves = np.random.default_rng(0).normal(size=(200, 5000)).astype("float32")
    louder = waves[[11, 90]] * 1.5 + np.random.default_rng(1).normal(0, 0.01, (2, 5000)).astype("float32")
    assert rows_of(find_duplicates(louder, waves)) == [(0, 11), (1, 90)]
    assert find_duplicates(np.random.default_rng(5).normal(size=(50, 5000)).astype("float32"), waves) == []


def test_rows_of_a_small_table_and_flat_pictures_are_compared_exactly():
    table = np.random.default_rng(0).normal(size=(100, 5)).astype("float32")
    assert find_duplicates(table * 1.001, table) == []
    flat = np.full((4, 16, 16, 1), [[[[9]]], [[[10]]], [[[11]]], [[[12]]]], "uint8")
    assert rows_of(find_duplicates(flat[[1]], flat)) == [(0, 1)]
    assert find_duplicates(flat[[1]] + 100, flat) == []


def test_what_random_lists_miss_is_rare():
    """Against comparing every pair: near the threshold a few are missed, above it none."""
    x = pictures(2000, side=16, channels=1)
    random = np.random.default_rng(2)
    noisy = x / 255.0 + random.normal(size=x.shape) * random.uniform(0, 0.04, (2000, 1, 1, 1))
    small = [
        duplicates.fingerprints(part.astype("float32")).small.astype("float32") for part in (noisy, x / 255)
    ]
    mean = small[1].mean(axis=0)
    small = [(part - mean) / np.linalg.norm(part - mean, axis=1, keepdims=True) for part in small]
    truly = {int(row) for row in np.flatnonzero((small[0] @ small[1].T).max(axis=1) >= duplicates._NEAR)}
    found = {pair.row for pair in find_duplicates(noisy.astype("float32"), x)}
    assert len(truly) > 100
    assert len(truly - found) <= 0.02 * len(truly)
    assert len(found - truly) <= 2  # rounding at the threshold


def test_the_pairs_compared_grow_with_the_number_of_examples_not_with_its_square(monkeypatch):
    compared = []
    stock = np.einsum

    def counting(formula, one, many):
        compared.append(many.shape[0] * many.shape[1])
        return stock(formula, one, many)

    monkeypatch.setattr(np, "einsum", counting)
    find_duplicates(pictures(3000, 0, 16, 1), pictures(3000, 1, 16, 1))
    assert 0 < sum(compared) <= 3000 * 200


def test_datasets():
    tf = pytest.importorskip("tensorflow")
    x, y = pictures(20), np.arange(20)
    dataset = tf.data.Dataset.from_tensor_slices((x, y))
    assert rows_of(find_duplicates(x[[4]], dataset)) == [(0, 4)]
    assert rows_of(find_duplicates(dataset.batch(8), x[::-1], input_shape=(24, 24, 3)))[0] == (0, 19)
    with pytest.raises(ValueError, match="empty"):
        find_duplicates(dataset.take(0), x)
    with pytest.raises(ValueError, match="not understood"):
        find_duplicates("pictures", x)
