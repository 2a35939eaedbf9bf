"""What the joint-embedding objectives share: their views, their pool, their projections."""

import keras
import numpy as np
import pytest

from tftransfer import backbones, layers, objectives
from tftransfer.objectives.joint_embedding import JointEmbedding

MEMBERS = [
    getattr(objectives, name)
    for name in objectives.__all__
    if issubclass(getattr(objectives, name), JointEmbedding)
]


def test_every_published_one_is_built_on_it():
    names = {member.__name__ for member in MEMBERS}
    assert {"SimCLR", "MoCo", "BYOL", "SimSiam", "BarlowTwins", "VICReg", "DINO"} <= names


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.__name__)
def test_an_own_augmentation_is_the_one_that_is_used(member):
    view = layers.RandomView(crop_scale=(0.9, 1.0), flip=False)
    objective = member(backbones.cnn((8, 8, 1), filters=(4, 8)), augmentation=view)
    assert objective.augmentation is view
    assert objective.embedding_width == 8


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.__name__)
def test_views_made_beforehand_are_taken_as_they_are(member):
    objective = member(backbones.cnn((8, 8, 1), filters=(4, 8)))
    first = keras.random.uniform((4, 8, 8, 1), seed=1)
    one, two = objective.views({"view_1": first, "view_2": first})
    np.testing.assert_array_equal(one, first)
    np.testing.assert_array_equal(two, first)


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.__name__)
def test_a_dict_without_views_names_the_objective(member):
    objective = member(backbones.cnn((8, 8, 1), filters=(4, 8)))
    with pytest.raises(ValueError, match=member.__name__):
        objective.views({"pictures": keras.random.uniform((4, 8, 8, 1))})


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.__name__)
def test_a_last_batch_of_one_that_plain_fit_makes_stays_finite(member):
    """Its number of rows is not known before the step, so that it cannot be refused."""
    objective = member(backbones.cnn((8, 8, 1), filters=(4, 8)))
    outputs = objective(keras.random.uniform((2, 8, 8, 1), seed=1), training=True)

    def first(value):
        rows = {2: lambda v: v[:1], 3: lambda v: v[:, :1]}  # (batch, …), and DINO's (views, batch, …)
        return rows.get(len(value.shape), lambda v: v)(value)

    assert np.isfinite(float(objective.compute_objective({name: first(v) for name, v in outputs.items()})))


def test_two_draws_of_a_view_differ():
    objective = objectives.SimCLR(backbones.cnn((8, 8, 1), filters=(4, 8)))
    one, two = objective.views(keras.random.uniform((4, 8, 8, 1), seed=1))
    assert np.abs(np.asarray(one) - np.asarray(two)).max() > 0.01


def test_odd_pictures_and_an_odd_number_of_odd_crops_of_dino():
    x = np.random.default_rng(0).random((4, 7, 9, 3)).astype("float32")
    objective = objectives.DINO(backbones.cnn((7, 9, 3), filters=(4, 8)), local_views=3, prototypes=16)
    assert tuple(objective(x)["student"].shape) == (5, 4, 16)
    crops = keras.Sequential([keras.layers.CenterCrop(3, 5), keras.layers.Resizing(7, 9)])
    other = objectives.DINO(
        backbones.cnn((7, 9, 3), filters=(4, 8)), local_views=1, prototypes=16, local_augmentation=crops
    )
    assert tuple(other(x)["student"].shape) == (3, 4, 16)
