"""Hidden tokens: how many, which never, by what they are replaced, whole words."""

import keras
import numpy as np
import pytest
from keras import ops

from tftransfer.layers import hide_tokens, maskable

pytestmark = pytest.mark.compute

SPECIAL = (0, 1, 2, 3, 4)
OPTIONS = {"special_ids": SPECIAL, "mask_id": 4, "vocabulary_size": 30}


def texts(rows=64, n=40, seed=0):
    draw = np.random.default_rng(seed)
    ids = draw.integers(5, 30, (rows, n))
    ids[:, 0] = 2
    for row, length in zip(ids, draw.integers(4, n, rows), strict=True):
        row[length] = 3
        row[length + 1 :] = 0
    return ids.astype("int32")


def hide(ids, **settings):
    seed = keras.random.SeedGenerator(0)
    return [
        ops.convert_to_numpy(x)
        for x in hide_tokens(ids, **{"ratio": 0.15, "seed": seed, **OPTIONS, **settings})
    ]


def hidden(ids, places, mask):
    """Bool, by place."""
    found = np.zeros(ids.shape, bool)
    for row, (at, real) in enumerate(zip(places, mask, strict=True)):
        assert len(set(at)) == len(at)
        found[row, at[real > 0]] = True
    return found


def test_so_many_of_each_row_and_never_special_ones():
    ids = texts()
    corrupted, places, mask = hide(ids)
    found = hidden(ids, places, mask)
    free = ~np.isin(ids, SPECIAL)
    np.testing.assert_array_equal(free, ops.convert_to_numpy(maskable(ids, SPECIAL)))
    assert not found[~free].any() and places.shape == (64, 6)
    np.testing.assert_array_equal(found.sum(1), np.maximum(1, np.floor(0.15 * free.sum(1) + 0.5)))
    np.testing.assert_array_equal(corrupted[~found], ids[~found])
    assert not np.isin(corrupted[found & (corrupted != 4)], SPECIAL).any()


def test_four_fifths_become_the_mask_and_a_tenth_stays():
    ids = texts(4000, 20)
    corrupted, places, mask = hide(ids, ratio=0.5)
    found = hidden(ids, places, mask)
    was, now = ids[found], corrupted[found]
    assert (now == 4).mean() == pytest.approx(0.8, abs=0.01)
    assert (now == was).mean() == pytest.approx(0.1 + 0.1 / 25, abs=0.01)  # a random one may be the same
    replaced = now[(now != 4) & (now != was)]
    assert set(replaced) == set(range(5, 30))


def test_every_place_is_hidden_equally_often():
    ids = np.tile(np.r_[2, np.arange(10, 20), 3, 0].astype("int32"), (4000, 1))
    _, places, mask = hide(ids, ratio=0.3)
    share = hidden(ids, places, mask).mean(0)
    np.testing.assert_allclose(share[1:11], 0.3, atol=0.03)
    assert share[[0, 11, 12]].sum() == 0


def test_masks_are_drawn_anew_and_repeat_with_the_seed():
    ids, seed = texts(), keras.random.SeedGenerator(3)
    first, second = (
        ops.convert_to_numpy(hide_tokens(ids, ratio=0.15, seed=seed, **OPTIONS)[0]) for _ in range(2)
    )
    again = ops.convert_to_numpy(
        hide_tokens(ids, ratio=0.15, seed=keras.random.SeedGenerator(3), **OPTIONS)[0]
    )
    assert (first != second).any()
    np.testing.assert_array_equal(first, again)


def test_whole_words_are_hidden_whole():
    continues = np.zeros(30, bool)
    continues[20:] = True
    ids = texts(200)
    _, places, mask = hide(ids, ratio=0.3, continues_word=continues)
    found = hidden(ids, places, mask)
    free = ~np.isin(ids, SPECIAL)
    budget = np.maximum(1, np.floor(0.3 * free.sum(1) + 0.5))
    assert (found.sum(1) <= budget).all() and found.sum() > 0.7 * budget.sum()
    for row in range(len(ids)):
        begins = ~(continues[ids[row]] & np.r_[False, free[row, :-1]])
        word = begins.cumsum()
        for number in np.unique(word[found[row]]):
            whole = found[row][word == number].all()
            assert whole or (word == number).sum() > budget[row]


def test_a_row_without_free_tokens_hides_nothing():
    ids = np.array([[2, 3, 0, 0], [2, 9, 3, 0]], "int32")
    corrupted, places, mask = hide(ids)
    assert mask.sum() == 1 and hidden(ids, places, mask)[1, 1]
    np.testing.assert_array_equal(corrupted[0], ids[0])


def test_special_ids_that_do_not_come_first():
    ids = np.random.default_rng(0).integers(1, 28, (500, 20)).astype("int32")
    corrupted, *_ = hide(ids, special_ids=(0, 28, 29), mask_id=29)
    assert set(np.unique(corrupted)) == {*range(1, 28), 29}
