"""What the objectives of tables promise, on tables with numbers, categories and gaps, over both kinds of backbone."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.objectives.test_contract import largest_difference, tensorflow_only, weights
from tests.xla import lowered
from tftransfer import backbones, placement
from tftransfer.layers import TablePreprocessing, preprocessing_of, swap_values
from tftransfer.objectives import SCARF, VIME, MaskedAutoencoder


def table(rows=64, seed=0):
    """Two groups of rows: what stands in one column says something of the others."""
    draw = np.random.default_rng(seed)
    group = draw.integers(0, 2, rows)
    age = np.where(draw.random(rows) < 0.2, np.nan, 30 + 20 * group + draw.normal(size=rows))
    job = np.array(["cook", "clerk", "judge", ""])[
        np.where(draw.random(rows) < 0.1, 3, group + draw.integers(0, 2, rows))
    ]
    return {
        "age": age,
        "job": job,
        "wage": 1000.0 * group + draw.normal(size=rows),
        "town": np.array(["a", "b"])[group],
        "size": draw.normal(size=rows),
    }


def preprocessing():
    return TablePreprocessing().adapt(table())


def perceptron():
    return backbones.mlp(preprocessing(), units=(16,))


def transformer():
    return backbones.table_transformer(preprocessing(), width=16, depth=1, num_heads=2)


CASES = {
    "SCARF, mlp": lambda: SCARF(perceptron()),
    "VIME, mlp": lambda: VIME(perceptron()),
    "SCARF, transformer": lambda: SCARF(transformer()),
    "VIME, transformer": lambda: VIME(transformer()),
    "MaskedAutoencoder, transformer": lambda: MaskedAutoencoder(transformer(), mask_ratio=0.5),
}
every = pytest.mark.parametrize("case", CASES)


def make(case, seed=0):
    keras.utils.set_random_seed(seed)
    return CASES[case]()


def encoded(objective):
    return preprocessing_of(objective.backbone).encode(table())


def train(objective, epochs=2, optimizer=None, **compiled):
    objective.compile(optimizer or keras.optimizers.SGD(1e-3), **compiled)
    fit = objective.fit(encoded(objective), batch_size=16, epochs=epochs, shuffle=False, verbose=0)
    return fit.history["loss"]


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=pytest.mark.compute) if c.startswith("Masked") else c for c in CASES]
)
def test_loss_falls_and_stays_finite(case):
    losses = train(make(case), epochs=16, optimizer=keras.optimizers.Adam(5e-3))
    assert np.isfinite(losses).all()
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


@tensorflow_only
@every
def test_every_variable_gets_gradient(case):
    import tensorflow as tf

    objective = make(case)
    with tf.GradientTape() as tape:
        loss = objective.compute_loss(y_pred=objective(encoded(objective), training=True))
    variables = objective.trainable_variables
    gradients = tape.gradient(loss, [v.value for v in variables])
    silent = [
        v.path for v, g in zip(variables, gradients, strict=True) if g is None or not np.abs(g).max() > 0
    ]
    assert not silent


@tensorflow_only
def test_two_replicas_give_the_weights_of_one_device():
    case = "MaskedAutoencoder, transformer"  # the others' sharing of rows is in their contract
    one = make(case)
    train(one)
    strategy = placement.strategy("mirrored", verbose=False)
    assert strategy.num_replicas_in_sync == 2
    with strategy.scope():
        two = make(case)
        train(two)
    assert largest_difference(weights(one), weights(two)) < 1e-5


@tensorflow_only
def test_xla_takes_the_whole_step():
    objective = make("MaskedAutoencoder, transformer")
    train(objective, epochs=1)
    assert lowered(objective, encoded(objective)[:8]).startswith("HloModule")


@pytest.mark.parametrize("case", ["SCARF, mlp", "MaskedAutoencoder, transformer"])
def test_keras_file_round_trip(case, tmp_path):
    objective = make(case)
    train(objective, epochs=1)
    objective.save(tmp_path / "o.keras")
    again = keras.models.load_model(tmp_path / "o.keras")
    assert largest_difference(weights(objective), weights(again)) == 0
    a, b = (ops.convert_to_numpy(o.backbone(encoded(o))) for o in (objective, again))
    np.testing.assert_array_equal(a, b)


@pytest.mark.compute
def test_categories_are_swapped_as_a_whole_for_ones_of_their_column():
    rows = preprocessing().encode(table())
    corrupted, mask = swap_values(
        ops.convert_to_tensor(rows), 0.5, keras.random.SeedGenerator(0), where="SCARF"
    )
    corrupted, mask = ops.convert_to_numpy(corrupted), ops.convert_to_numpy(mask)
    for j in range(rows.shape[1]):
        assert np.isin(corrupted[:, j], rows[:, j]).all()  # gaps and codes among them
    np.testing.assert_array_equal(corrupted[mask == 0], rows[mask == 0])
    assert (corrupted != rows)[:, 4].mean() == pytest.approx(0.5, abs=0.15)  # whose values all differ


@pytest.mark.compute
def test_hidden_columns_do_not_reach_the_prediction_and_gaps_are_no_targets():
    objective = MaskedAutoencoder(transformer(), mask_ratio=0.6)
    rows = encoded(objective)
    order = np.tile([0, 3, 1, 2, 4], (len(rows), 1))  # age and town are visible
    outputs = objective({"rows": rows, "order": order})
    np.testing.assert_array_equal(
        ops.convert_to_numpy(outputs["mask"]), np.tile([0, 1, 1, 0, 1], (len(rows), 1))
    )
    changed = rows.copy()
    changed[:, [1, 2, 4]] = [2, 7.0, -3.0]
    other = objective({"rows": changed, "order": order})
    a, b = (ops.convert_to_numpy(o["prediction"]) for o in (outputs, other))
    np.testing.assert_allclose(a, b, atol=1e-6)
    errors = ops.convert_to_numpy(objective.targets.error(outputs["prediction"], outputs["target"]))
    assert not errors[rows[:, 1] == 0, 1].any() and errors[rows[:, 1] > 0, 1].all()


def test_a_raw_table_is_refused():
    for case in CASES:
        with pytest.raises(ValueError, match="encode"):
            make(case)({name: np.ones(4) for name in table()})


def test_a_batch_of_one_row_is_refused():
    objective = make("SCARF, mlp")
    with pytest.raises(ValueError, match="batch of one"):
        objective(encoded(objective)[:1])


@pytest.mark.parametrize("ratio", [0.0, 1.0, 0.05])
def test_ratios_that_hide_nothing_or_everything(ratio):
    with pytest.raises(ValueError, match="of 5 tokens"):
        MaskedAutoencoder(transformer(), mask_ratio=ratio)
