"""Texts of like length share a batch, which is cut; every row comes once; any step can be returned to."""

import keras
import numpy as np
import pytest

from tftransfer.data import batches, steps_per_epoch
from tftransfer.data.by_length import ByLength, bucket_lengths
from tftransfer.layers import TokenIds


def rows(count=200, longest=40, seed=0):
    """Ids that say their row: its number, as often as it has tokens."""
    lengths = np.random.default_rng(seed).geometric(0.1, count).clip(1, longest)
    return TokenIds(
        (np.arange(longest) < lengths[:, None]) * np.arange(1, count + 1)[:, None].astype("int32")
    )


def numpy(batch):
    return keras.tree.map_structure(np.asarray, batch)


def padding(lengths, buckets):
    to = np.asarray(buckets)[np.searchsorted(buckets, lengths)]
    return (to - lengths).sum() / to.sum()


def test_the_best_lengths_of_all_choices():
    from itertools import combinations

    lengths = np.array([1, 1, 2, 5, 5, 6, 9, 12, 12, 12, 13])
    for most in (1, 2, 3, 4):
        found = bucket_lengths(lengths, most=most, waste=0.0)
        others = [[*c, 13] for c in combinations(np.unique(lengths)[:-1], most - 1)]
        assert len(found) == most
        assert padding(lengths, found) == pytest.approx(min(padding(lengths, c) for c in others))
    assert bucket_lengths([0, 0, 4]).tolist() in ([1, 4], [4])
    assert bucket_lengths([7, 7]).tolist() == [7]
    many = np.random.default_rng(0).integers(1, 5000, 3000)
    assert bucket_lengths(many)[-1] == many.max() and padding(many, bucket_lengths(many)) < 0.06


@pytest.mark.parametrize("drop", [False, True])
def test_every_row_once_and_little_padding(drop):
    x, y = rows(), np.arange(200)
    seen, widths, tokens, cells = [], set(), 0, 0
    for part, labels in map(numpy, batches((x, y), batch_size=16, shuffle=True, seed=1, drop_remainder=drop)):
        assert part[:, 0].tolist() == (labels + 1).tolist()
        seen += labels.tolist()
        widths.add(part.shape[1])
        tokens, cells = tokens + (part > 0).sum(), cells + part.size
    assert len(seen) == len(set(seen)) == (192 if drop else 200)
    assert steps_per_epoch((x, y), batch_size=16, drop_remainder=drop) == (12 if drop else 13)
    assert len(widths) <= 16 and 1 - tokens / cells < 0.25  # 12 batches of 200 rows


def test_of_many_rows_a_tenth_is_padding_at_most():
    x = rows(20_000, 128)
    order = ByLength((x,), 32, steps=625, shuffle=True, seed=0)
    cells = sum(32 * order(0, step)[1][0] for step in range(625))
    assert 1 - x.lengths.sum() / cells <= 0.1
    first = [order(epoch, 0)[0].tolist() for epoch in (0, 1, 0)]
    assert first[0] == first[2] != first[1]


@pytest.mark.compute
def test_a_step_can_be_returned_to():
    x = rows(60)
    options = {"batch_size": 8, "shuffle": True, "seed": 3, "repeat": True, "drop_remainder": True}

    def first(count, start):
        stream = batches(x, start=start, **options)
        stream = iter(stream) if hasattr(stream, "enumerate") else map(stream.__getitem__, range(count))
        return [np.asarray(next(stream)) for _ in range(count)]

    for one, other in zip(first(10, 0)[5:], first(5, 5), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.compute
def test_in_order_it_only_cuts():
    x = rows(50)
    found = [np.asarray(part) for part in batches(x, batch_size=8)]
    assert [row[0] for part in found for row in part] == list(range(1, 51))
    assert all(part.shape[1] >= (part > 0).sum(1).max() for part in found)
    assert min(part.shape[1] for part in found) < 40


@pytest.mark.compute
def test_labels_of_tokens_are_cut_with_them_and_several_texts_each_for_itself():
    x = rows(40)
    tags = TokenIds(np.where(np.asarray(x) > 0, 0, -1))
    for part, labels in map(numpy, batches((x, tags), batch_size=8, shuffle=True)):
        assert part.shape == labels.shape and ((labels == 0) == (part > 0)).all()
    other = TokenIds(np.asarray(x)[:, :20])
    for part in map(numpy, batches({"source": x, "target": other}, batch_size=8, shuffle=True)):
        assert (part["source"][:, 0] == part["target"][:, 0]).all()
        assert part["target"].shape[1] <= 20


def test_workers_read_pieces_of_one_batch():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("several workers are TensorFlow's")
    x = rows(64)
    options = {"batch_size": 16, "shuffle": True, "seed": 2, "repeat": True, "drop_remainder": True}
    whole = [np.asarray(part) for part in batches(x, **options).take(3)]
    pieces = [[np.asarray(p) for p in batches(x, share=(i, i + 1, 2), **options).take(3)] for i in range(2)]
    for step in range(3):
        np.testing.assert_array_equal(np.concatenate([p[step] for p in pieces]), whole[step])


def test_full_rows_have_one_length_that_compilers_know():
    x = TokenIds(np.ones((10, 6), "int32"))
    stream = batches(x, batch_size=2, shuffle=True, repeat=True, drop_remainder=True)
    if keras.backend.backend() == "tensorflow":
        assert tuple(stream.element_spec.shape) == (2, 6)
    else:
        assert stream[0].shape == (2, 6)


def test_rows_grow_over_the_warm_up():
    x = TokenIds(np.arange(1, 33, dtype="int32") + np.zeros((24, 1), "int32"))  # full rows of 32
    options = {"batch_size": 4, "shuffle": True, "repeat": True, "drop_remainder": True, "seed": 0}

    def first(count, **more):
        stream = batches(x, **options, **more)
        stream = iter(stream) if hasattr(stream, "enumerate") else map(stream.__getitem__, range(count))
        return [np.asarray(next(stream)) for _ in range(count)]

    found = first(9, length_warmup_steps=7)
    assert [part.shape for part in found] == [(4, n) for n in (8, 8, 12, 16, 20, 24, 28, 32, 32)]
    assert all((part == np.arange(1, 1 + part.shape[1])).all() for part in found)
    for one, other in zip(found[3:], first(6, length_warmup_steps=7, start=3), strict=True):
        np.testing.assert_array_equal(one, other)
    several = ByLength((rows(64),), 8, steps=8, shuffle=True, seed=0, length_warmup_steps=16)
    widths = [several(*divmod(step, 8))[1][0] for step in range(32)]
    assert max(widths[:3]) == 8 and max(widths[8:10]) <= 20 < max(widths[16:])
    for data, more in ((np.zeros((8, 3)), {}), (x, {"repeat": False})):
        with pytest.raises(ValueError, match="Leave it out"):
            batches(data, **{**options, **more}, length_warmup_steps=2)


def test_a_tpu_gets_one_length(monkeypatch):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("JAX compiles each length")
    import tensorflow as tf

    options = {"batch_size": 8, "shuffle": True, "repeat": True, "drop_remainder": True}
    assert batches(rows(), **options).element_spec.shape.as_list() == [8, None]
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: ["TPU:0"] * (kind == "TPU"))
    x, y = rows(), np.arange(200)
    for data in (x, (x, y), {"a": x, "b": TokenIds(np.asarray(x)[:, :7])}):
        specs = keras.tree.flatten(batches(data, **options).element_spec)
        assert all(None not in spec.shape.as_list() for spec in specs)
    assert batches(x, batch_size=8).element_spec.shape.as_list() == [8, 40]  # 25 whole batches
    order = ByLength((x,), 8, steps=25, shuffle=True, seed=0, one_length=True)
    assert sorted(np.concatenate([order(0, step)[0] for step in range(25)])) == list(range(200))
    with pytest.raises(ValueError, match="TPU under TensorFlow"):
        batches(x, **options, length_warmup_steps=5)


def test_ids_keep_what_they_know():
    import copy
    import pickle

    x = TokenIds([[1, 2, 0], [3, 0, 0]], checksum="abc")
    for other in (x[:1], x[[1]], pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
        assert isinstance(other, TokenIds) and other.checksum == "abc"
    assert x.lengths.tolist() == [2, 1]
