"""Values swapped within their columns: what is kept, how much moves, and what is drawn."""

import keras
import numpy as np
import pytest

from tftransfer.layers import swap_values

ROWS, COLUMNS = 512, 6


def table():
    """Rows whose values tell both their row and their column: row + column / 10."""
    return (np.arange(ROWS)[:, None] + np.arange(COLUMNS) / 10).astype("float32")


def swap(rows, share, seed=0):
    corrupted, mask = swap_values(
        keras.ops.convert_to_tensor(rows), share, keras.random.SeedGenerator(seed), where="SCARF"
    )
    return np.asarray(corrupted), np.asarray(mask)


@pytest.mark.compute
@pytest.mark.parametrize("share", (0.1, 0.6, 0.9))
def test_the_share_that_is_replaced(share):
    corrupted, mask = swap(table(), share)
    assert mask.dtype == "float32" and set(np.unique(mask)) == {0.0, 1.0}
    assert mask.mean() == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / mask.size))
    np.testing.assert_array_equal(corrupted[mask == 0], table()[mask == 0])


@pytest.mark.compute
def test_each_value_comes_from_its_column_and_a_row_of_its_own():
    corrupted, _ = swap(table(), 0.9)
    column = np.round((corrupted - np.floor(corrupted)) * 10)
    np.testing.assert_array_equal(column, np.broadcast_to(np.arange(COLUMNS), column.shape))
    donors = np.floor(corrupted + 0.05)
    assert (np.ptp(donors, axis=1) > 0).mean() > 0.99  # not one donor for the whole row
    assert donors.min() < 0.05 * ROWS and donors.max() > 0.95 * ROWS  # from the first row to the last


@pytest.mark.compute
def test_equal_seeds_draw_alike_and_the_next_draw_differs():
    np.testing.assert_array_equal(swap(table(), 0.5)[0], swap(table(), 0.5)[0])
    assert not np.array_equal(swap(table(), 0.5)[0], swap(table(), 0.5, seed=1)[0])
    seed = keras.random.SeedGenerator(0)
    first, second = (np.asarray(swap_values(table(), 0.5, seed, where="SCARF")[1]) for _ in range(2))
    assert not np.array_equal(first, second)


def test_one_row_has_no_donor():
    with pytest.raises(ValueError, match=r"SCARF.*batch of one"):
        swap(table()[:1], 0.5)
