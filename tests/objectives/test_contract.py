"""What every objective promises, for each name in `objectives.__all__`."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

from tests.choice import each
from tests.objectives.conftest import examples, make
from tests.xla import lowered
from tftransfer import objectives, placement

ALL = [getattr(objectives, n) for n in objectives.__all__ if n != "Objective"]
every = pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tf.distribute is TensorFlow's"
)


RATES = {
    "BarlowTwins": 1e-5
}  # whose loss is in the hundreds: at the rate of the others rounding grows to chaos


def train(objective, *, epochs=2, y=None, **compiled):
    rate = RATES.get(type(objective).__name__, 1e-3)  # small steps: rounding is not magnified
    objective.compile(keras.optimizers.SGD(rate), **compiled)
    return objective.fit(
        examples(objective), y, batch_size=8, epochs=epochs, shuffle=False, verbose=0
    ).history["loss"]


# TensorFlow sums in the order in which its threads end: on a busy machine a game between two networks was 8e-6 off.
ROUNDING = 5e-5

# Where the paper's defaults are made for runs of many thousand steps, and show nothing in 80.
SHORT_RUN = {"DINO": {"momentum": 0.9, "prototypes": 64, "local_views": 2}}


@functools.cache
def trained(cls):
    """An objective after two plain epochs, made once for all the tests that compare something with it."""
    objective = make(cls)
    train(objective)
    return objective


def weights(objective):
    return [ops.convert_to_numpy(v) for v in objective.weights]


def largest_difference(first, second):
    return max(float(np.abs(a - b).max()) for a, b in zip(first, second, strict=True))


GAMES = [
    objectives.GAN,
    objectives.BiGAN,
]  # whose loss says nothing of progress: their own tests show that they learn


@pytest.mark.compute
@pytest.mark.parametrize("cls", [cls for cls in ALL if cls not in GAMES], ids=lambda cls: cls.__name__)
def test_loss_falls(cls):
    objective = make(cls, **SHORT_RUN.get(cls.__name__, {}))
    objective.compile(keras.optimizers.Adam(5e-3))
    losses = objective.fit(examples(objective), batch_size=16, epochs=40, verbose=0).history["loss"]
    assert np.mean(losses[-10:]) < np.mean(losses[:4])  # means, for random views make single epochs noisy


@tensorflow_only
@every
def test_every_trainable_backbone_variable_gets_gradient(cls):
    import tensorflow as tf

    objective = make(cls)
    with tf.GradientTape() as tape:
        loss = objective.compute_loss(y_pred=objective(examples(objective), training=True))
    variables = objective.backbone.trainable_variables
    gradients = tape.gradient(loss, [v.value for v in variables])
    gradients = [g if g is None else tf.convert_to_tensor(g) for g in gradients]  # a table's come as slices
    silent = [
        v.path for v, g in zip(variables, gradients, strict=True) if g is None or not np.abs(g).max() > 0
    ]
    assert not silent, f"no gradient reaches {silent}"


KINDS = ["SimCLR", "MaskedAutoencoder", "BYOL"]  # on JAX, which compiles for seconds, one of each kind


@pytest.mark.parametrize(
    "cls",
    [pytest.param(cls, marks=[pytest.mark.compute] * (cls.__name__ in KINDS)) for cls in ALL],
    ids=lambda cls: cls.__name__,
)
def test_labels_are_ignored_and_same_seed_gives_same_weights(cls):
    objective = make(cls)
    train(objective, y=np.arange(32))
    assert largest_difference(weights(trained(cls)), weights(objective)) < ROUNDING


@every
def test_another_seed_gives_other_weights(cls):
    first, second = make(cls), make(cls, seed=1)
    assert largest_difference(weights(first), weights(second)) > 100 * ROUNDING


@every
def test_config_and_keras_file_round_trip(cls, tmp_path):
    objective = trained(cls)
    again = cls.from_config(objective.get_config())
    assert again.get_config().keys() == objective.get_config().keys()
    objective.save(tmp_path / "objective.keras")
    loaded = keras.models.load_model(tmp_path / "objective.keras")
    assert largest_difference(weights(objective), weights(loaded)) == 0
    a, b = (keras.ops.convert_to_numpy(o.backbone(examples(o), training=False)) for o in (objective, loaded))
    np.testing.assert_allclose(a, b, atol=1e-6)


COUNTING = {"BYOL", "MoCo", "DINO", "IJEPA", "VariationalAutoencoder"}  # teachers, schedules inside the step


@pytest.mark.parametrize("cls", each(ALL, COUNTING))
def test_steps_per_execution_makes_no_difference(cls):
    objective = make(cls)
    train(objective, steps_per_execution=4)
    assert largest_difference(weights(trained(cls)), weights(objective)) < ROUNDING


@tensorflow_only
@every
def test_xla_takes_the_whole_step(cls):
    objective = make(cls)
    objective.compile(keras.optimizers.SGD(1e-3))
    assert lowered(objective, examples(objective)[:8]).startswith("HloModule")


@tensorflow_only
@pytest.mark.parametrize("cls", [cls for cls in ALL if cls.__name__ in [*KINDS, "MaskedLM"]])
def test_xla_runs_the_whole_step(cls):
    """XLA draws other random numbers, so weights are not compared."""
    objective = make(cls)
    before = weights(objective)
    losses = train(objective, jit_compile=True)
    assert np.isfinite(losses).all()
    assert largest_difference(before, weights(objective)) > 0


@every
def test_mixed_precision_stays_finite(cls):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        losses = train(make(cls), epochs=1)
    finally:
        keras.config.set_dtype_policy(policy)
    assert np.isfinite(losses).all()


# Each another way to look beyond an example: negatives, batch statistics, teachers, games, masks, losses over tokens.
ACROSS = ["SimCLR", "MoCo", "BYOL", "BarlowTwins", "VICReg", "DINO", "GAN", "MaskedAutoencoder", "MaskedLM"]


@tensorflow_only
@pytest.mark.parametrize("cls", each(ALL, ACROSS))
def test_two_replicas_give_the_weights_of_one_device(cls):
    strategy = placement.strategy("mirrored", verbose=False)
    assert strategy.num_replicas_in_sync == 2
    with strategy.scope():
        objective = make(cls)
        start = weights(objective)
        train(objective)
    one = weights(trained(cls))
    learned = [
        i for i, variable in enumerate(objective.weights) if variable.trainable
    ]  # no counts, no statistics
    moved = largest_difference([start[i] for i in learned], [one[i] for i in learned])
    # A loss in the hundreds moves far, and its rounding with it; all others are within 1e-5.
    assert largest_difference(one, weights(objective)) < max(1e-5, 1e-3 * moved)


@every
def test_a_setting_for_small_data_is_documented(cls):
    assert "Small data" in cls.__doc__


def test_every_name_is_an_objective():
    assert all(issubclass(cls, objectives.Objective) for cls in ALL)


@every
def test_a_backbone_that_is_none_is_refused(cls):
    with pytest.raises(ValueError, match=r"keras\.Model"):
        cls("resnet")


@every
def test_an_unbuilt_backbone_is_refused(cls):
    with pytest.raises(ValueError, match="no weights yet"):
        cls(keras.Sequential([keras.layers.Dense(3)]))
