"""LeanAdamW against Keras's AdamW, step by step."""

import keras
import numpy as np
import pytest

from tftransfer.lean_adamw import LeanAdamW

STEPS, RATE = 8, 1e-2


def words(optimizer):
    """Weights of a model with a word table, some of whose rows no batch has, after STEPS steps."""
    keras.utils.set_random_seed(0)
    net = keras.Sequential([keras.Input((3,), dtype="int32"), keras.layers.Embedding(9, 4)])
    net.add(keras.layers.Flatten())
    net.add(keras.layers.Dense(2))
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    net.compile(optimizer, "mse")
    draw = np.random.default_rng(0)
    net.fit(draw.integers(0, 6, (4 * STEPS, 3)), draw.random((4 * STEPS, 2)), batch_size=4, verbose=0)
    return net.get_weights()


@pytest.mark.compute
@pytest.mark.parametrize("clip", [{}, {"global_clipnorm": 0.1}], ids=["plain", "clipped"])
def test_the_updates_are_those_of_keras(clip):
    settings = {"weight_decay": 0.1, "beta_1": 0.8, "beta_2": 0.99, **clip}
    schedule = keras.optimizers.schedules.CosineDecay(0.0, STEPS, warmup_target=RATE, warmup_steps=2)
    ours, stock = words(LeanAdamW(schedule, **settings)), words(keras.optimizers.AdamW(schedule, **settings))
    for a, b in zip(ours, stock, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    without = words(LeanAdamW(schedule, **{**settings, "weight_decay": 0.0}))
    assert np.abs(ours[0] - without[0]).max() > 1e-4


def test_amsgrad_is_left_to_keras():
    with pytest.raises(ValueError, match="amsgrad=True"):
        LeanAdamW(amsgrad=True)
