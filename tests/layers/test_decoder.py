"""Decoders of examples: shapes of every kind, and what is refused."""

import keras
import numpy as np
import pytest

from tftransfer.layers import example_decoder, example_generator


@pytest.mark.compute
@pytest.mark.parametrize(
    ("kind", "features", "example"),
    [
        ("auto", (16,), (20,)),
        ("auto", (4, 4, 8), (28, 28, 1)),
        ("auto", (2, 3, 8), (9, 25, 3)),
        ("dense", (7, 7, 4), (14, 14, 2)),
        ("dense", (5, 6), (12,)),
        ("convolutional", (16,), (28, 28, 1)),
        ("convolutional", (49, 8), (30, 17, 2)),
        ("convolutional", (8, 8, 4), (8, 8, 3)),
    ],
    ids=str,
)
def test_gives_examples(kind, features, example):
    decoder = example_decoder(kind, features, example)
    made = np.asarray(decoder(np.random.default_rng(0).normal(size=(2, *features)).astype("float32")))
    assert made.shape == (2, *example) and made.min() < 0 < made.max()  # no activation
    assert np.ptp(made[0] - made[1]) > 0


def kinds_of(decoder):
    return {type(layer).__name__ for layer in decoder.layers}


def test_auto_takes_convolutions_behind_a_map_alone():
    assert "Conv2DTranspose" in kinds_of(example_decoder("auto", (4, 4, 8), (8, 8, 1)))
    assert "Conv2DTranspose" not in kinds_of(example_decoder("auto", (16,), (8, 8, 1)))


def test_a_generator_takes_convolutions_for_pictures():
    assert "Conv2DTranspose" in kinds_of(example_generator("auto", 4, (8, 8, 1)))
    assert "Conv2DTranspose" not in kinds_of(example_generator("auto", 4, (20,)))
    assert "Conv2DTranspose" not in kinds_of(example_generator("dense", 4, (8, 8, 1)))
    own = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6)])
    assert example_generator(own, 4, (6,)) is own
    with pytest.raises(ValueError, match=r"\(6,\).*\(7,\)"):
        example_generator(own, 4, (7,))


def test_an_own_decoder_is_taken_as_it_is_or_refused():
    own = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6)])
    assert example_decoder(own, (4,), (6,)) is own
    with pytest.raises(ValueError, match=r"\(6,\).*\(7,\)"):
        example_decoder(own, (4,), (7,))


@pytest.mark.parametrize(
    ("kind", "features", "example", "says"),
    [
        ("transposed", (4,), (6,), "transposed"),
        (None, (4,), (6,), "None"),
        ("auto", (4,), (None, 6), "fixed shape"),
        ("convolutional", (4,), (6,), "pictures"),
    ],
)
def test_bad_input(kind, features, example, says):
    with pytest.raises(ValueError, match=says):
        example_decoder(kind, features, example)
