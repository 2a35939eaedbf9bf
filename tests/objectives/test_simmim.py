"""SimMIM: what is hidden, what the loss counts, and which backbones it serves."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.objectives.conftest import tiny_backbone
from tftransfer import backbones
from tftransfer.objectives import SimMIM
from tftransfer.objectives.simmim import masked_distance

pytestmark = pytest.mark.compute


def test_distance_equals_the_mean_over_hidden_values():
    draw = np.random.default_rng(0)
    p, t, mask = (
        draw.normal(size=(2, 4, 4, 3)),
        draw.normal(size=(2, 4, 4, 3)),
        draw.integers(0, 2, (2, 4, 4, 1)),
    )
    shown = np.broadcast_to(mask, p.shape)
    expected = np.mean([np.abs(p - t)[i][shown[i] == 1].mean() for i in range(2)])
    assert float(masked_distance(p, t, mask)) == pytest.approx(expected, rel=1e-5)
    assert float(masked_distance(p, p, mask)) == 0


@pytest.mark.parametrize("kind", ["cnn", "vit", "mlp"])
def test_serves_maps_tokens_and_vectors(kind):
    outputs = SimMIM(tiny_backbone(kind))(np.ones((2, 8, 8, 1), "float32"))
    assert tuple(outputs["prediction"].shape) == (2, 8, 8, 1)


@pytest.mark.parametrize("shape", [(28, 28, 1), (30, 20, 3)])
def test_odd_sizes(shape):
    outputs = SimMIM(backbones.cnn(shape, filters=(4, 8, 8)))(np.ones((2, *shape), "float32"))
    assert tuple(outputs["prediction"].shape) == (2, *shape)
    assert tuple(outputs["mask"].shape) == (2, *shape[:2], 1)


def test_hides_whole_squares_of_the_share_it_says():
    objective = SimMIM(tiny_backbone("cnn"), mask_ratio=0.5, mask_size=2)
    mask = ops.convert_to_numpy(objective(np.ones((4, 8, 8, 1), "float32"))["mask"])[..., 0]
    assert set(np.unique(mask)) == {0.0, 1.0}
    np.testing.assert_array_equal(mask.mean((1, 2)), 0.5)
    squares = mask.reshape(4, 4, 2, 4, 2)
    np.testing.assert_array_equal(squares.max((2, 4)), squares.min((2, 4)))
    assert len(np.unique(mask.reshape(4, -1), axis=0)) > 1


def test_hidden_pixels_do_not_reach_the_prediction():
    objective = SimMIM(tiny_backbone("cnn"))
    x = np.random.default_rng(0).random((2, 8, 8, 1)).astype("float32")
    mask = np.zeros((2, 8, 8, 1), "float32")
    mask[:, :4] = 1
    changed = x.copy()
    changed[:, :4] = 0.9
    a, b = (
        ops.convert_to_numpy(objective({"pictures": p, "mask": mask})["prediction"]) for p in (x, changed)
    )
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_targets_are_relative_to_their_patch():
    x = np.random.default_rng(0).normal(3, 2, (2, 8, 8, 3)).astype("float32")
    objective = SimMIM(backbones.cnn((8, 8, 3), filters=(4, 8)))  # patches of 4 pixels
    target = ops.convert_to_numpy(objective(x)["target"])
    patches = x.astype("float64").reshape(2, 2, 4, 2, 4, 3)
    mean, deviation = (f(patches, axis=(2, 4, 5), keepdims=True) for f in (np.mean, np.std))
    np.testing.assert_allclose(target, ((patches - mean) / deviation).reshape(x.shape), atol=1e-4)


def test_raw_targets_are_the_pictures():
    x = np.random.default_rng(0).random((2, 8, 8, 1)).astype("float32")
    outputs = SimMIM(tiny_backbone("cnn"), normalize_targets=False)(x)
    np.testing.assert_array_equal(ops.convert_to_numpy(outputs["target"]), x)


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.5, 1.5, 0.01, float("nan")])
def test_refuses_ratios_that_hide_nothing_or_everything(ratio):
    with pytest.raises(ValueError, match="mask_ratio"):
        SimMIM(tiny_backbone("cnn"), mask_ratio=ratio)


def test_refuses_squares_larger_than_the_picture_and_rows():
    with pytest.raises(ValueError, match="larger than a picture"):
        SimMIM(tiny_backbone("cnn"), mask_size=9)
    with pytest.raises(ValueError, match="squares of pictures"):
        SimMIM(tiny_backbone("table"))


@pytest.mark.parametrize("normalized", [True, False])
def test_a_backbone_that_reads_bytes_learns_in_the_units_of_one_that_does_not(normalized):
    x = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), dtype="uint8")
    layers = [keras.layers.Conv2D(3, 3, 2, "same")]
    options = {"normalize_targets": normalized}
    plain = SimMIM(keras.Sequential([keras.Input((8, 8, 1)), *layers]), **options)
    scaled = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Rescaling(1 / 255), *layers])
    bytes_ = SimMIM(scaled, **options)
    bytes_.head.set_weights(plain.head.get_weights())
    for objective in (plain, bytes_):
        objective.mask_value.assign([0.5])
    first, second = plain(x / np.float32(255)), bytes_(x)
    for key in ("prediction", "target"):
        expected = ops.convert_to_numpy(first[key]) * (1 if normalized else 255)
        np.testing.assert_allclose(ops.convert_to_numpy(second[key]), expected, rtol=1e-4, atol=1e-3)
    loss = float(plain.compute_objective(first))
    assert float(bytes_.compute_objective(second)) == pytest.approx(loss, rel=1e-4)
