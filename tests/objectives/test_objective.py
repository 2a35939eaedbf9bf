"""The base of all objectives: what it refuses, what it adds to a loss, and who learns of the plan."""

import keras
import numpy as np
import pytest

from tftransfer.layers import StepCount
from tftransfer.objectives import BYOL, Autoencoder, Objective
from tftransfer.objectives.objective import check_backbone


def backbone(**dense):
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, **dense)])


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: "resnet", r"takes a keras\.Model as backbone; received str"),
        (lambda: keras.layers.Dense(3), "received Dense"),
        (lambda: keras.Sequential([keras.layers.Dense(3)]), "has no weights yet"),
        (lambda: keras.Model(x := keras.Input((4,)), [x, x + 1]), "with one output"),
        (lambda: keras.Model(x := keras.Input((4,)), {"a": x + 1}), "with one output"),
        (lambda: keras.Model(x := keras.Input((4,)), [x + 1]), "with one output"),
        (lambda: keras.Sequential([keras.Input((2, 2, 2, 1)), keras.layers.ReLU()]), "with one output"),
    ],
    ids=["text", "layer", "not built", "two outputs", "dict", "list", "five axes"],
)
def test_what_is_no_backbone_is_refused_in_words(made, words):
    with pytest.raises(ValueError, match=words):
        check_backbone(made(), "Mine")


@pytest.mark.compute
def test_regularisers_of_the_backbone_count_and_labels_do_not():
    plain = Autoencoder(backbone(kernel_initializer="ones"))
    other = Autoencoder(backbone(kernel_initializer="ones", kernel_regularizer=keras.regularizers.L2(0.5)))
    other.decoder_model.set_weights(plain.decoder_model.get_weights())
    x = np.random.default_rng(0).random((8, 4)).astype("float32")
    first, second = (float(o.compute_loss(y=np.arange(8), y_pred=o(x))) for o in (plain, other))
    assert second - first == pytest.approx(0.5 * 12, rel=1e-5)  # twelve ones


def test_every_count_of_steps_learns_of_the_plan():
    objective = BYOL(keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)]))
    counts = [layer for layer in objective._flatten_layers() if isinstance(layer, StepCount)]
    assert [int(count.planned) for count in counts] == [0]
    objective.plan(40)
    assert [int(count.planned) for count in counts] == [40]
    Autoencoder(backbone()).plan(40)  # without any


def test_a_subclass_must_say_two_things():
    base = Objective(backbone())
    with pytest.raises(NotImplementedError, match="returns a dict"):
        base(np.ones((2, 4), "float32"))
    with pytest.raises(NotImplementedError, match="returns a scalar"):
        base.compute_objective({})
