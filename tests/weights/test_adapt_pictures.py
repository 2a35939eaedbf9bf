import keras
import numpy as np
import pytest
from keras import layers

from tftransfer.backbones import vit
from tftransfer.weights import input_channels, patch_size, positions, transfer_weights, variable_paths


def conv(channels, **kwargs):
    parts = [layers.Conv2D(4, 3, name="stem", **kwargs), layers.Conv2D(2, 3, name="second")]
    return keras.Sequential([keras.Input((12, 12, channels)), *parts])


def pictures(*shape):
    return np.random.default_rng(0).uniform(size=(2, *shape)).astype("float32")


def out(model, x):
    return keras.ops.convert_to_numpy(model(x))


@pytest.mark.parametrize("channels", [2, 3, 5])
def test_grey_copied_to_all_channels_gives_what_grey_gave(channels):
    grey, colour = conv(1), conv(channels)
    receipt = transfer_weights(grey, colour)
    assert receipt.verify().counts == {"loaded": 3, "renamed": 0, "adapted": 1, "random": 0, "unused": 0}
    x = pictures(12, 12, 1)
    np.testing.assert_allclose(out(colour, np.repeat(x, channels, -1)), out(grey, x), atol=1e-5)


def test_colour_to_grey_sums():
    colour, grey = conv(3), conv(1)
    receipt = transfer_weights(colour, grey)
    assert receipt.of("adapted")[0].note == "3 input channels summed to 1"
    x = pictures(12, 12, 1)
    np.testing.assert_allclose(out(grey, x), out(colour, np.repeat(x, 3, -1)), atol=1e-5)


def test_colour_to_bands_is_the_formula():
    colour, bands = conv(3), conv(7)
    transfer_weights(colour, bands)
    old, new = colour.get_weights()[0], bands.get_weights()[0]
    for i in range(7):
        np.testing.assert_allclose(new[:, :, i], old[:, :, i % 3] * 3 / 7, rtol=1e-6)


def test_only_the_first_convolution_is_touched_and_each_can_be_left_out():
    with pytest.raises(ValueError, match="stem/kernel"):
        transfer_weights(conv(1), conv(3), adapt=())
    with pytest.raises(ValueError, match="stem/kernel"):
        transfer_weights(conv(1), conv(3), adapt=[positions(), patch_size()])
    parts = layers.Conv2D(6, 3, name="stem"), layers.Conv2D(2, 3, name="second")
    wider = keras.Sequential([keras.Input((12, 12, 3)), *parts])
    with pytest.raises(ValueError, match="second/kernel"):
        transfer_weights(conv(3), wider, allow_missing="stem")


def patches(size, channels=3):
    return keras.Sequential(
        [keras.Input((32, 32, channels)), layers.Conv2D(5, size, strides=size, name="patches")]
    )


@pytest.mark.parametrize("old, new", [(4, 8), (2, 4), (4, 4)])
def test_a_resized_patch_gives_the_same_token(old, new):
    source, target = patches(old), patches(new)
    transfer_weights(source, target)
    x = pictures(32, 32, 3)[:, :old, :old]
    larger = keras.ops.convert_to_numpy(keras.ops.image.resize(x, (new, new), interpolation="bilinear"))
    tokens = [
        np.tensordot(p, m.get_weights()[0], ([1, 2, 3], [0, 1, 2]))
        for p, m in ((x, source), (larger, target))
    ]
    np.testing.assert_allclose(*tokens, atol=1e-4)


def test_patches_and_channels_at_once():
    receipt = transfer_weights(patches(4, channels=3), patches(8, channels=1))
    assert receipt.of("adapted")[0].note == "3 input channels summed to 1; patches (4, 4) → (8, 8) pixels"


def test_overlapping_convolutions_are_no_patches():
    large = keras.Sequential(
        [keras.Input((12, 12, 3)), layers.Conv2D(4, 5, name="stem"), layers.Conv2D(2, 3, name="second")]
    )
    with pytest.raises(ValueError, match="stem/kernel"):
        transfer_weights(conv(3), large)


@pytest.mark.compute
def test_a_vit_for_other_pictures():
    small = vit((16, 16, 3), patch_size=4, width=8, depth=2, num_heads=2)
    large = vit((32, 24, 1), patch_size=4, width=8, depth=2, num_heads=2)
    receipt = transfer_weights(small, large)
    notes = {line.path: line.note for line in receipt.of("adapted")}
    assert notes["embedder/positions/table"] == "positions 4×4 → 8×6, bicubic"
    assert notes.keys() == {"embedder/positions/table", "embedder/patches/kernel"}
    assert receipt.verify().assert_loaded()


def test_a_vit_for_other_patches():
    """As many patches of twice the size: a picture of twice the size gives the same tokens."""
    small, large = (vit((4 * p, 4 * p, 3), patch_size=p, width=8, depth=1, num_heads=2) for p in (4, 8))
    receipt = transfer_weights(small, large).verify().assert_loaded()
    notes = {line.path: line.note for line in receipt.of("adapted")}
    assert notes == {"embedder/patches/kernel": "patches (4, 4) → (8, 8) pixels"}
    x = np.kron(np.random.default_rng(0).random((1, 4, 4, 3)), np.ones((1, 4, 4, 1))).astype("float32")
    tokens = out(small, x), out(large, np.repeat(np.repeat(x, 2, 1), 2, 2))  # each patch of one colour
    np.testing.assert_allclose(*tokens, atol=1e-4)


def test_a_flat_table_stays_flat_and_a_slope_a_slope():
    small, large = (vit((s, s, 1), patch_size=4, width=4, depth=1, num_heads=1) for s in (32, 64))
    rows = np.repeat(np.arange(8.0), 8)
    table = np.stack([np.ones(64), rows, np.tile(np.arange(8.0), 8), np.zeros(64)], axis=-1)
    variable_paths(small)["embedder/positions/table"].assign(table)
    transfer_weights(small, large)
    found = keras.ops.convert_to_numpy(variable_paths(large)["embedder/positions/table"]).reshape(16, 16, 4)
    np.testing.assert_allclose(found[..., 0], 1, atol=1e-5)
    inside = found[4:12, 4:12]
    np.testing.assert_allclose(np.diff(inside[..., 1], axis=0), 0.5, atol=0.05)
    np.testing.assert_allclose(np.diff(inside[..., 2], axis=1), 0.5, atol=0.05)


class Table(layers.Layer):
    """A table of positions as other libraries have it: (1, tokens, width) under the name pos_embed."""

    def __init__(self, tokens, shape=(1,)):
        super().__init__(name="pos_embed")
        self.table = self.add_weight(shape=(*shape, tokens, 4), name="pos_embedding")

    def call(self, x):
        return x + self.table[:, : x.shape[1]]


def tables(tokens):
    return keras.Sequential([keras.Input((4, 4)), Table(tokens)])


def test_a_class_token_stays_as_it_is():
    source, target = tables(1 + 16), tables(1 + 36)
    receipt = transfer_weights(source, target)
    assert receipt.lines[0].note == "positions 4×4 → 6×6, bicubic"
    old, new = source.get_weights()[0], target.get_weights()[0]
    np.testing.assert_array_equal(old[:, 0], new[:, 0])
    assert new.shape == (1, 37, 4)


def test_a_grid_that_is_not_square():
    receipt = transfer_weights(tables(4 * 9), tables(1 + 16), adapt=[positions()])
    assert "the first 17 of 36" in receipt.lines[0].note  # without being told, nothing can be known
    receipt = transfer_weights(tables(3 * 12), tables(16), adapt=[positions(grid=(3, 12))])
    assert receipt.lines[0].note == "positions 3×12 → 4×4, bicubic"


def test_sequences_keep_their_beginning_and_repeat():
    shorter, longer, source = tables(7), tables(25 + 3), tables(11)
    transfer_weights(source, shorter)
    transfer_weights(source, longer)
    table = source.get_weights()[0]
    np.testing.assert_array_equal(shorter.get_weights()[0], table[:, :7])
    np.testing.assert_array_equal(
        longer.get_weights()[0], np.concatenate([table, table, table[:, :6]], axis=1)
    )


def test_a_sequence_layer_is_never_taken_for_a_picture():
    models = []
    for length in (16, 36):
        model = tables(length)
        model.layers[0].sequence_length = length  # as KerasHub's PositionEmbedding
        models.append(model)
    assert transfer_weights(*models).lines[0].note == "16 positions repeated to 36"


def test_no_adaptation_when_nothing_differs():
    assert transfer_weights(conv(3), conv(3), adapt=[input_channels()]).counts["adapted"] == 0
