"""The masked autoencoder: what the encoder sees, what the loss counts."""

import numpy as np
import pytest
from keras import ops

from tests.objectives.conftest import tiny_backbone
from tftransfer.layers import normalize_patches
from tftransfer.objectives import MaskedAutoencoder
from tftransfer.objectives.masked_autoencoder import masked_mean

pytestmark = pytest.mark.compute


def test_error_equals_the_mean_over_hidden_patches():
    draw = np.random.default_rng(0)
    p, t, mask = draw.normal(size=(2, 16, 4)), draw.normal(size=(2, 16, 4)), draw.integers(0, 2, (2, 16))
    expected = ((p - t) ** 2).mean(-1)[mask == 1].mean()
    outputs = {"prediction": p, "target": t, "mask": mask}
    found = MaskedAutoencoder(tiny_backbone("vit")).compute_objective(outputs)
    assert float(found) == pytest.approx(expected, rel=1e-5)
    assert float(masked_mean(((p - t) ** 2).mean(-1), mask)) == pytest.approx(expected, rel=1e-5)


def test_normalized_patches_have_mean_0_and_deviation_1():
    x = ops.convert_to_numpy(
        normalize_patches(np.random.default_rng(0).normal(3, 2, (2, 4, 50)).astype("float32"))
    )
    np.testing.assert_allclose(x.mean(-1), 0, atol=1e-5)
    np.testing.assert_allclose(x.std(-1), 1, atol=1e-4)


@pytest.mark.parametrize(("ratio", "hidden"), [(0.75, 12), (0.5, 8), (0.9, 14)])
def test_hides_the_share_it_says(ratio, hidden):
    objective = MaskedAutoencoder(tiny_backbone("vit"), mask_ratio=ratio)
    mask = ops.convert_to_numpy(objective(np.ones((3, 8, 8, 1), "float32"))["mask"])
    np.testing.assert_array_equal(mask.sum(axis=1), hidden)


def test_masks_differ_between_examples_and_calls():
    objective = MaskedAutoencoder(tiny_backbone("vit"))
    x = np.ones((8, 8, 8, 1), "float32")
    first, second = (ops.convert_to_numpy(objective(x)["mask"]) for _ in range(2))
    assert len(np.unique(first, axis=0)) > 1
    assert (first != second).any()


def test_hidden_pixels_do_not_reach_the_prediction():
    objective = MaskedAutoencoder(tiny_backbone("vit"))
    order = np.tile(np.arange(16), (2, 1))  # the first four patches, the top row, are visible
    x = np.random.default_rng(0).random((2, 8, 8, 1)).astype("float32")
    changed = x.copy()
    changed[:, 2:] = 0.123
    a, b = (objective({"pictures": p, "order": order})["prediction"] for p in (x, changed))
    np.testing.assert_allclose(ops.convert_to_numpy(a), ops.convert_to_numpy(b), atol=1e-6)
    changed[:, :2] = 0.9
    c = objective({"pictures": changed, "order": order})["prediction"]
    assert np.abs(ops.convert_to_numpy(c) - ops.convert_to_numpy(a)).max() > 1e-3


def test_targets_are_the_patches_in_place():
    objective = MaskedAutoencoder(tiny_backbone("vit"), normalize_targets=False)
    x = np.random.default_rng(0).random((1, 8, 8, 1)).astype("float32")
    target = ops.convert_to_numpy(objective(x)["target"])
    np.testing.assert_allclose(target[0, 5], x[0, 2:4, 2:4, 0].ravel())  # second row, second column


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.5, 1.5, 0.99, 0.01, float("nan")])
def test_refuses_ratios_that_hide_nothing_or_everything(ratio):
    with pytest.raises(ValueError, match="mask_ratio"):
        MaskedAutoencoder(tiny_backbone("vit"), mask_ratio=ratio)


def test_refuses_a_dict_of_something_else():
    with pytest.raises(ValueError, match="encode"):
        MaskedAutoencoder(tiny_backbone("vit"))({"age": np.ones(3), "job": np.ones(3)})


def test_refuses_a_backbone_without_the_two_stages():
    with pytest.raises(ValueError, match="embedder"):
        MaskedAutoencoder(tiny_backbone("cnn"))
