"""The schedule of weight decay against AdamW by hand, at any number of steps an execution, saved and loaded."""

import keras
import numpy as np
import pytest

import tftransfer as tt
from tftransfer.weight_decay import ScheduledDecay

STEPS, RATE = 8, 1e-2


def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="body")])


def train(optimizer, *, decay_of_step=None, **compiled):
    net = model()
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    net.compile(optimizer, "mse", **compiled)
    draw = np.random.default_rng(0)
    x, y = draw.random((STEPS, 4, 3), dtype="float32"), draw.random((STEPS, 4, 2), dtype="float32")
    if decay_of_step is None:
        net.fit(x.reshape(-1, 3), y.reshape(-1, 2), batch_size=4, shuffle=False, verbose=0)
        return net.get_weights()
    kernel = net.get_layer("body").kernel
    for step in range(STEPS):  # a step of Adam without any decay, and the decay by hand
        before = np.array(keras.ops.convert_to_numpy(kernel))
        net.train_on_batch(x[step], y[step])
        kernel.assign(kernel - RATE * decay_of_step(step) * before)
    return net.get_weights()


@pytest.mark.compute
@pytest.mark.parametrize("together", [1, 4])
def test_the_decay_of_each_step_is_on_the_cosine(together):
    if together > 1 and keras.backend.backend() != "tensorflow":
        pytest.skip("once is enough on JAX")

    def decay(step):
        return 0.4 + (0.04 - 0.4) * (1 + np.cos(np.pi * step / STEPS)) / 2

    optimizer = ScheduledDecay(RATE, 0.04, final_weight_decay=0.4, decay_steps=STEPS)
    ours = train(optimizer, steps_per_execution=together)
    by_hand = train(keras.optimizers.AdamW(RATE, weight_decay=0.0), decay_of_step=decay)
    constant = train(keras.optimizers.AdamW(RATE, weight_decay=0.04))
    np.testing.assert_allclose(ours[0], by_hand[0], atol=1e-6)
    np.testing.assert_allclose(ours[1], by_hand[1], atol=1e-6)
    assert np.abs(ours[0] - constant[0]).max() > 1e-4
    assert abs(float(optimizer.decay_now()) - 0.4) < 1e-6


def test_it_comes_back_from_its_config():
    optimizer = ScheduledDecay(RATE, 0.1, final_weight_decay=0.2, decay_steps=5)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(again, ScheduledDecay)
    assert (again.weight_decay, again.final_weight_decay, again.decay_steps) == (0.1, 0.2, 5)


def test_pretrain_takes_it_where_the_objective_asks(capsys):
    backbone = tt.backbones.vit((8, 8, 1), patch_size=2, width=16, depth=1, num_heads=2)
    objective = tt.objectives.IJEPA(backbone)
    tt.pretrain(
        objective,
        np.random.default_rng(0).random((16, 8, 8, 1), dtype="float32"),
        epochs=1,
        batch_size=8,
        verbose=2,
    )
    assert isinstance(objective.optimizer, ScheduledDecay)
    assert objective.optimizer.decay_steps == 2
    assert "weight decay 0.04 to 0.4" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [{"final_weight_decay": -0.1}, {"decay_steps": 0}])
def test_bad_settings(wrong):
    with pytest.raises(ValueError, match=r"0 or more and decay_steps 1 or more"):
        ScheduledDecay(**wrong)
