"""Two views by Keras's own layers."""

import keras
import numpy as np
import pytest

from tftransfer.data import Examples, two_views

PICTURES = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)


@pytest.mark.compute
def test_two_random_views_of_each_example():
    flip = keras.layers.RandomFlip("horizontal", seed=0)
    pipeline = two_views(Examples(PICTURES, np.arange(10)), flip, batch_size=4, shuffle=False)
    found = [(np.asarray(views["view_1"]), np.asarray(views["view_2"])) for views in pipeline]
    assert [len(one) for one, _ in found] == [4, 4]
    differ = 0
    for i, pair in enumerate(found):
        originals = PICTURES[i * 4 : i * 4 + 4].astype("float32") / 255
        for one, two, original in zip(*pair, originals, strict=True):
            for view in (one, two):
                either = (original, original[:, ::-1])
                assert any(np.allclose(view, kind, atol=1e-6) for kind in either)
            differ += not np.allclose(one, two)
    assert 0 < differ < 8


def test_a_sequential_and_a_function():
    layers = keras.Sequential(
        [keras.layers.RandomFlip(seed=0), keras.layers.RandomTranslation(0.2, 0.2, seed=1)]
    )
    for augmentation in (layers, lambda batch: batch[:, ::-1]):
        views = next(iter(two_views(PICTURES, augmentation, batch_size=5)))
        assert tuple(views["view_2"].shape) == (5, 8, 8, 3)


def test_same_seeds_same_views():
    def read():
        flip = keras.layers.RandomFlip(seed=2)
        return [np.asarray(views["view_1"]) for views in two_views(PICTURES, flip, batch_size=5, seed=1)]

    for one, two in zip(read(), read(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_augmentation_must_be_callable():
    with pytest.raises(ValueError, match="augmentation"):
        two_views(PICTURES, "flip", batch_size=2)
