"""Learning-rate multipliers: each variable moves as with its own learning rate, for every Keras optimizer."""

import keras
import numpy as np
import pytest

from tftransfer.optimizers import with_multipliers

pytestmark = pytest.mark.compute
FACTORS = {"^first": 0.1, "^second": 0.5, "^third": 1.0}
OPTIMIZERS = [
    name
    for name, kind in vars(keras.optimizers).items()
    if isinstance(kind, type)
    and issubclass(kind, keras.optimizers.Optimizer)
    and name not in ("Optimizer", "LossScaleOptimizer", "MultiOptimizer")
]


def model(seed=0):
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Dense(n, name=name) for n, name in ((5, "first"), (4, "second"), (3, "third"))]
    return keras.Sequential([keras.Input((6,)), *layers])


def optimizer_named(name, rate=1e-2):
    kind = getattr(keras.optimizers, name)
    decay = {} if name in ("Ftrl", "SGD") else {"weight_decay": 0.1}
    if name == "Muon":
        decay = {"weight_decay": 0.1, "adam_weight_decay": 0.05}
    return kind(learning_rate=rate, **decay)


def gradients(variables, step):
    random = np.random.default_rng(step)
    return [keras.ops.convert_to_tensor(random.normal(size=v.shape).astype("float32")) for v in variables]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_variable_moves_as_with_its_own_rate(name):
    ours = model()
    together = with_multipliers(optimizer_named(name), FACTORS, ours)
    together.build(ours.trainable_variables)
    apart = model()
    separate = {}
    for layer in apart.layers:
        separate[layer.name] = optimizer_named(name, 1e-2 * FACTORS[f"^{layer.name}"])
    for step in range(4):
        drawn = gradients(ours.trainable_variables, step)
        together.apply(drawn, ours.trainable_variables)
        for i, layer in enumerate(apart.layers):
            separate[layer.name].apply(drawn[2 * i : 2 * i + 2], layer.trainable_variables)
    for one, other, start in zip(ours.get_weights(), apart.get_weights(), model().get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-7)
        assert (one != start).any()


def test_patterns_must_be_found_and_cover_everything():
    with pytest.raises(ValueError, match="'frist' is found in no variable path"):
        with_multipliers(keras.optimizers.Adam(), {"frist": 0.1, ".*": 1.0}, model())
    with pytest.raises(ValueError, match="covers the variable 'second/kernel'"):
        with_multipliers(keras.optimizers.Adam(), {"first": 0.1}, model())


def test_the_factors_survive_saving_although_keras_renames_the_variables(tmp_path):
    ours = model()
    ours.compile(with_multipliers(keras.optimizers.AdamW(1e-2), FACTORS, ours), "mse")
    x, y = np.ones((8, 6), "float32"), np.zeros((8, 3), "float32")
    ours.fit(x, y, verbose=0)
    ours.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.multipliers == ours.optimizer.multipliers == (0.1, 0.1, 0.5, 0.5, 1.0, 1.0)
    assert int(loaded.optimizer.iterations) == 1
    for each in (ours, loaded):
        each.fit(x, y, verbose=0)
    for one, other in zip(ours.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-7)


def test_one_rate_serves_callbacks():
    ours = model()
    ours.compile(with_multipliers(keras.optimizers.SGD(1.0), FACTORS, ours), "mse")
    x, y = np.ones((8, 6), "float32"), np.zeros((8, 3), "float32")
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: 0.0 if epoch else 1e-3)
    plateau = keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=0, min_delta=10.0)
    ours.fit(x, y, epochs=1, callbacks=[schedule], verbose=0)
    before = ours.get_weights()
    ours.fit(x, y, epochs=2, initial_epoch=1, callbacks=[schedule], verbose=0)
    for one, other in zip(before, ours.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    ours.optimizer.learning_rate = 1e-3
    ours.fit(x, y, epochs=3, callbacks=[plateau], verbose=0)
    assert float(ours.optimizer.learning_rate) == pytest.approx(2.5e-4)


def test_schedules_clipping_averages_and_excluded_decay():
    schedule = keras.optimizers.schedules.CosineDecay(1e-2, 10)
    plain = keras.optimizers.AdamW(schedule, weight_decay=0.5, global_clipnorm=1.0, use_ema=True)
    plain.exclude_from_weight_decay(var_names=["bias"])
    ours = model()
    multiplied = with_multipliers(plain, {".*": 1.0}, ours)
    other = model()
    for step in range(3):
        multiplied.apply(gradients(ours.trainable_variables, step), ours.trainable_variables)
        plain.apply(gradients(other.trainable_variables, step), other.trainable_variables)
    for one, two in zip(ours.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-7)


def test_accumulation_updates_once_for_several_batches():
    ours, other = model(), model()
    steps = {"learning_rate": 1e-2, "weight_decay": 0.1}
    accumulating = keras.optimizers.AdamW(**steps, gradient_accumulation_steps=2)
    accumulating = with_multipliers(accumulating, FACTORS, ours)
    at_once = with_multipliers(keras.optimizers.AdamW(**steps), FACTORS, other)
    for step in (0, 2):
        first, second = (gradients(ours.trainable_variables, step + i) for i in (0, 1))
        accumulating.apply(first, ours.trainable_variables)
        accumulating.apply(second, ours.trainable_variables)
        at_once.apply([(a + b) / 2 for a, b in zip(first, second, strict=True)], other.trainable_variables)
    for one, two in zip(ours.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


def test_what_cannot_carry_multipliers_is_refused():
    ours = model()
    wrapped = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
    with pytest.raises(ValueError, match="Give the optimizer inside it"):
        with_multipliers(wrapped, {".*": 1.0}, ours)
    multiplied = with_multipliers(keras.optimizers.Adam(), {".*": 1.0}, ours)
    with pytest.raises(ValueError, match="multipliers already"):
        with_multipliers(multiplied, {".*": 1.0}, ours)
    ours.layers[0].trainable = False
    with pytest.raises(ValueError, match="built for other"):
        multiplied.build(ours.trainable_variables)


def test_mixed_float16_wraps_it():
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        ours = model()
        ours.compile(with_multipliers(keras.optimizers.Adam(1e-2), FACTORS, ours), "mse")
        ours.fit(np.ones((8, 6), "float32"), np.zeros((8, 3), "float32"), epochs=2, verbose=0)
        assert all(np.isfinite(weights).all() for weights in ours.get_weights())
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
