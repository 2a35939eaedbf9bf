"""Alignment, uniformity, and a callback that sees features die."""

import keras
import numpy as np
import pytest

from tftransfer import backbones, layers, objectives
from tftransfer.evaluation import Health, alignment, uniformity
from tftransfer.guards import FeaturesCollapsed


def pictures(n=24):
    return np.random.default_rng(0).random((n, 8, 8, 1), dtype="float32")


def contrastive(**settings):
    keras.utils.set_random_seed(0)
    view = layers.RandomView(crop_scale=(0.5, 1.0), flip=False, seed=1)
    objective = objectives.SimCLR(backbones.cnn((8, 8, 1), filters=(4, 8)), augmentation=view, **settings)
    objective.compile(keras.optimizers.Adam(1e-3), jit_compile=False)
    return objective


def test_alignment_and_uniformity_by_hand():
    draw = np.random.default_rng(0)
    first, second = draw.normal(size=(6, 3)), draw.normal(size=(6, 3))
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (first, second))
    assert alignment(first, second) == pytest.approx(
        np.mean([np.sum((x - y) ** 2) for x, y in zip(a, b, strict=True)])
    )
    pairs = [np.exp(-2 * np.sum((a[i] - a[j]) ** 2)) for i in range(6) for j in range(i)]
    assert uniformity(first) == pytest.approx(np.log(np.mean(pairs)))


def test_bounds_and_invariance_to_length():
    points = np.random.default_rng(0).normal(size=(50, 4))
    assert alignment(points, -3 * points) == pytest.approx(4)
    assert alignment(points, 7 * points) == pytest.approx(0, abs=1e-12)
    assert uniformity(points) == pytest.approx(uniformity(5 * points))
    assert uniformity(points) < uniformity(points + 3) < -1e-3
    assert uniformity(np.ones((4, 2))) == pytest.approx(0, abs=1e-12)


def test_figures_join_the_history_and_stand_between_two_looks():
    objective = contrastive()
    health = Health(objective, pictures(), every=2)
    history = objective.fit(pictures(), batch_size=12, epochs=4, callbacks=[health], verbose=0).history
    for name in ("feature_std", "effective_rank", "uniformity", "alignment"):
        assert len(history[name]) == 4 and np.isfinite(history[name]).all()
        assert history[name][1] == history[name][2]  # looked at after epochs 1, 2 and 4
    assert 0 < history["feature_std"][-1] <= 1.1 and 1 <= history["effective_rank"][-1] <= 8
    assert 0 < history["alignment"][-1] < 4 and history["uniformity"][-1] < 0


def test_watching_changes_nothing():
    ends = []
    for watched in (False, True):
        objective = contrastive()
        callbacks = [Health(objective, pictures())] if watched else []
        objective.fit(pictures(), batch_size=12, epochs=2, shuffle=False, callbacks=callbacks, verbose=0)
        ends.append(objective.get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(*ends, strict=True))


class Kill(keras.callbacks.Callback):
    """Sets all weights of the backbone to zero after an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch, self.ended = epoch, 0

    def on_epoch_end(self, epoch, logs=None):
        self.ended = epoch
        if epoch == self.epoch:
            for variable in self.model.backbone.weights:
                variable.assign(0 * variable)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_collapse_is_called_out_once_or_ends_the_run():
    objective = contrastive()
    with pytest.warns(UserWarning, match="features have collapsed") as told:
        objective.fit(pictures(), epochs=4, callbacks=[Kill(1), Health(objective, pictures())], verbose=0)
    assert sum("collapsed" in str(w.message) for w in told) == 1
    objective, kill = contrastive(), Kill(1)
    with pytest.raises(
        FeaturesCollapsed, match=r"In epoch 2 the run was ended.*collapsed.*Lower the learning rate"
    ):
        objective.fit(
            pictures(), epochs=4, callbacks=[kill, Health(objective, pictures(), stop=True)], verbose=0
        )
    assert kill.ended == 1


def test_bad_examples():
    with pytest.raises(ValueError, match="at least two examples"):
        Health(contrastive(), pictures(1))
    with pytest.raises(ValueError, match="examples"):
        Health(contrastive(), np.zeros((5, 8, 8)))


def test_features_of_nothing_but_zeros_are_not_spread():
    assert uniformity(np.zeros((5, 3))) == 0
    assert uniformity(np.ones((5, 3))) == pytest.approx(0)
