"""Next-patch prediction: the formula, who sees what, and what is refused."""

import keras
import numpy as np
import pytest

from tests.objectives.conftest import stripes, tiny_backbone
from tftransfer import backbones
from tftransfer.layers import patchify
from tftransfer.objectives import NextPatchPrediction
from tftransfer.objectives.next_patch_prediction import next_patch_error


@pytest.fixture
def objective():
    keras.utils.set_random_seed(0)
    return NextPatchPrediction(tiny_backbone("causal"))


@pytest.mark.compute
def test_error_is_that_of_the_patch_that_follows():
    draw = np.random.default_rng(0)
    prediction, patches = (draw.normal(size=(3, 5, 4)).astype("float32") for _ in range(2))
    by_hand = np.mean(
        [(prediction[b, t] - patches[b, t + 1]).astype("float64") ** 2 for b in range(3) for t in range(4)]
    )
    assert float(next_patch_error(prediction, patches)) == pytest.approx(by_hand, rel=1e-6)


@pytest.mark.compute
def test_a_prediction_depends_on_nothing_that_comes_later(objective):
    pictures = stripes()[:1]
    said = np.asarray(objective(pictures)["prediction"])
    for place in (0, 5, 15):  # of 16 patches of 2x2 pixels, row by row
        changed = pictures.copy()
        row, column = 2 * (place // 4), 2 * (place % 4)
        changed[0, row : row + 2, column : column + 2] = np.array([[0.9, 0.1], [0.3, 0.7]])[..., None]
        now = np.asarray(objective(changed)["prediction"])
        np.testing.assert_allclose(now[0, :place], said[0, :place], atol=1e-6)
        assert (np.abs(now[0, place:] - said[0, place:]).max(axis=1) > 1e-5).all()  # and on all before


@pytest.mark.compute
def test_targets_are_the_patches_relative_to_themselves_unless_told_otherwise(objective):
    patches = np.asarray(patchify(stripes()[:2], 2))
    relative = (patches - patches.mean(-1, keepdims=True)) / np.sqrt(patches.var(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(objective(stripes()[:2])["patches"], relative, atol=1e-4)
    plain = NextPatchPrediction(tiny_backbone("causal"), normalize_targets=False)
    np.testing.assert_allclose(plain(stripes()[:2])["patches"], patches, atol=1e-6)


def test_a_backbone_that_sees_what_comes_is_refused():
    with pytest.raises(ValueError, match="causal=True"):
        NextPatchPrediction(tiny_backbone("vit"))
    with pytest.raises(ValueError, match="no such layers"):
        NextPatchPrediction(tiny_backbone("cnn"))
    one = backbones.vit((8, 8, 1), patch_size=8, width=16, depth=1, num_heads=2, causal=True)
    with pytest.raises(ValueError, match="two patches"):
        NextPatchPrediction(one)
