"""I-JEPA: the distance, the blocks, and that nothing hidden is seen."""

import numpy as np
import pytest
from keras import ops

from tests.objectives.conftest import tiny_backbone
from tftransfer.objectives import IJEPA
from tftransfer.objectives.ijepa import latent_error, standardize_tokens

pytestmark = pytest.mark.compute


def test_error_equals_numpy():
    draw = np.random.default_rng(0)
    p, t, mask = (
        draw.normal(scale=2, size=(3, 5, 4)),
        draw.normal(size=(3, 5, 4)),
        draw.integers(0, 2, (3, 5)),
    )
    mask[:, 0] = 1
    expected = []
    for i in range(3):
        d = np.abs(p[i] - t[i])[mask[i] == 1]
        expected.append(np.where(d < 1, d**2 / 2, d - 0.5).mean())
    assert float(latent_error(p, t, mask)) == pytest.approx(np.mean(expected), rel=1e-5)
    assert float(latent_error(p, p, mask)) == 0


def test_targets_have_mean_0_and_deviation_1():
    x = ops.convert_to_numpy(
        standardize_tokens(np.random.default_rng(0).normal(3, 2, (2, 4, 50)).astype("float32"))
    )
    np.testing.assert_allclose(x.mean(-1), 0, atol=1e-5)
    np.testing.assert_allclose(x.std(-1), 1, atol=1e-4)


@pytest.mark.parametrize(("blocks", "scale", "side"), [(1, 0.25, 2), (2, 0.3, 2), (4, 0.175, 1)])
def test_hides_blocks_of_the_size_it_says_and_sees_none_of_them(blocks, scale, side):
    objective = IJEPA(tiny_backbone("vit"), blocks=blocks, block_scale=scale)
    mask, order = (ops.convert_to_numpy(v) for v in objective._blocks(16))
    assert objective.block == (side, side)
    assert (mask.sum(1) >= side**2).all()
    assert (mask.sum(1) <= blocks * side**2).all()
    seen = order[:, : objective.visible]
    assert not np.take_along_axis(mask, seen, axis=1).any()
    np.testing.assert_array_equal(np.sort(order, axis=1), np.tile(np.arange(16), (16, 1)))
    assert len(np.unique(mask, axis=0)) > 1
    if blocks == 1:  # one square
        for grid in mask.reshape(-1, 4, 4):
            assert grid.any(0).sum() == grid.any(1).sum() == side


def test_the_teacher_sees_the_whole_picture_and_the_student_only_a_part(pictures):
    objective = IJEPA(tiny_backbone("vit"), blocks=1, block_scale=0.25, momentum=1.0)
    outputs = objective(pictures[:2])
    expected = standardize_tokens(objective.backbone(pictures[:2]))  # the teacher starts as the student
    np.testing.assert_allclose(
        ops.convert_to_numpy(outputs["target"]), ops.convert_to_numpy(expected), atol=1e-4
    )
    assert tuple(outputs["prediction"].shape) == (2, 16, 16)


@pytest.mark.parametrize(
    "settings", [{"blocks": 0}, {"block_scale": 0.0}, {"block_scale": 1.0}, {"block_scale": 0.6}]
)
def test_refuses_blocks_that_leave_nothing(settings):
    with pytest.raises(ValueError, match="tokens visible"):
        IJEPA(tiny_backbone("vit"), **settings)


def test_refuses_a_backbone_without_the_two_stages():
    with pytest.raises(ValueError, match="embedder"):
        IJEPA(tiny_backbone("cnn"))
