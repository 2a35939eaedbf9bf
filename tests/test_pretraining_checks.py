"""Which pixels an objective expects, and what is refused before the first step."""

import math

import keras
import numpy as np
import pytest

from tftransfer import backbones, layers, objectives, pretrain
from tftransfer.pretraining_checks import value_range

X = np.random.default_rng(0).random((16, 8, 8, 1), dtype="float32")


def cnn():
    return backbones.cnn((8, 8, 1), filters=(4,))


def reads_bytes():
    parts = [keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(4, 3)]
    return keras.Sequential([keras.Input((8, 8, 1)), *parts])


def test_the_objective_s_own_range_comes_first():
    shifted = layers.RandomView(value_range=(-1.0, 1.0))
    assert value_range(objectives.SimCLR(cnn(), augmentation=shifted), X) == (-1.0, 1.0)
    assert value_range(objectives.SimCLR(cnn()), X) == (0.0, 1.0)
    assert value_range(objectives.SimCLR(reads_bytes()), X) == (0.0, 255.0)
    assert value_range(objectives.GAN(cnn(), latent_width=2), X) == (0.0, 1.0)
    assert value_range(objectives.VariationalAutoencoder(cnn(), latent_width=2), X) == (0.0, 1.0)


def test_where_it_has_none_only_the_greatest_value_matters():
    flip = keras.layers.RandomFlip()
    assert value_range(objectives.SimCLR(cnn(), augmentation=flip), X) == (-math.inf, 1.0)
    assert value_range(objectives.SimMIM(cnn()), X) == (-math.inf, 1.0)
    assert value_range(objectives.SimMIM(reads_bytes()), X) == (-math.inf, 255.0)
    views = {"view_1": X, "view_2": X}  # which nothing cuts any more
    assert value_range(objectives.SimCLR(cnn()), views) == (-math.inf, 1.0)


class Never(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        raise RuntimeError("the run began")


@pytest.mark.parametrize(
    ("objective", "x", "words"),
    [
        (lambda: objectives.SimCLR(cnn()), 2 * X - 1, r"values in \[-0.*value_range"),
        (lambda: objectives.GAN(cnn(), latent_width=2), 3 * X - 1.5, r"\[0, 1\] is expected"),
        (lambda: objectives.SimMIM(cnn()), 255 * X, r"x / 255\.0"),
        (lambda: objectives.SimMIM(reads_bytes()), X, r"x \* 255\.0"),
    ],
    ids=["negative", "standardised", "not scaled", "scaled twice"],
)
def test_pictures_in_another_range_are_told_before_the_run_begins(objective, x, words):
    with pytest.warns(UserWarning, match=words), pytest.raises(RuntimeError, match="began"):
        pretrain(objective(), x, epochs=1, batch_size=8, verbose=0, callbacks=[Never()])


def test_probe_data_in_another_range_are_told():
    probe_data = (255 * X, np.arange(16) % 2)
    with pytest.warns(UserWarning, match=r"probe_data: .*x / 255\.0"), pytest.raises(RuntimeError):
        pretrain(
            objectives.SimMIM(cnn()), X, batch_size=8, probe_data=probe_data, verbose=0, callbacks=[Never()]
        )


def test_a_batch_of_one_is_refused_and_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="batch of one"):
        pretrain(objectives.SimCLR(cnn()), X, batch_size=1, verbose=0, save_to=tmp_path / "a.weights.h5")
    assert not list(tmp_path.iterdir())


def test_bytes_reach_the_views_of_a_backbone_that_rescales_them():
    objective = objectives.SimCLR(reads_bytes())
    history = pretrain(objective, (255 * X).astype("uint8"), epochs=1, batch_size=8, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
