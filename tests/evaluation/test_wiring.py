"""The real arms: what is fresh, what is kept, how many steps the control gets."""

import keras
import numpy as np
import pytest

from tftransfer.backbones import cnn, mlp
from tftransfer.evaluation.wiring import Wiring, _fresh
from tftransfer.policies import full, linear_probe

pytestmark = pytest.mark.compute


def wiring(backbone, **given):
    given = {"policy": linear_probe(epochs=1), "scratch_policy": None, "batch_size": 32} | given
    return Wiring(backbone, 3, [5], **given)


def test_scratch_is_fresh_for_each_seed_and_pretrained_is_not():
    backbone = mlp((6,), units=(8,))
    arms = wiring(backbone).arms()
    start = {
        (arm, seed): [w.copy() for w in arms.build(arm, seed).get_weights()]
        for arm in ("pretrained", "scratch")
        for seed in (5, 6)
    }
    kernel = {key: weights[0] for key, weights in start.items()}
    np.testing.assert_array_equal(kernel["pretrained", 5], kernel["pretrained", 6])
    np.testing.assert_array_equal(kernel["pretrained", 5], backbone.get_weights()[0])
    assert np.abs(kernel["scratch", 5] - kernel["scratch", 6]).max() > 0.01
    assert np.abs(kernel["scratch", 5] - kernel["pretrained", 5]).max() > 0.01
    for arm in ("pretrained", "scratch"):
        heads = [start[arm, seed][-2] for seed in (5, 6)]
        assert np.abs(heads[0] - heads[1]).max() > 0.01
    again = arms.build("scratch", 6).get_weights()
    np.testing.assert_array_equal(again[0], kernel["scratch", 6])


def test_the_two_arms_share_nothing():
    backbone = mlp((6,), units=(8,))
    made = wiring(backbone)
    variables = [{id(v) for v in task.variables} for task in made._tasks.values()]
    assert not variables[0] & variables[1]


def test_snapshots_come_back():
    arms = wiring(mlp((6,), units=(8,))).arms()
    kept = arms.snapshot(arms.build("scratch", 0))
    arms.build("scratch", 1)
    for now, then in zip(arms.restore("scratch", kept).get_weights(), kept, strict=True):
        np.testing.assert_array_equal(now, then)


def test_adapted_normalization_stays():
    normalization = keras.layers.Normalization()
    normalization.adapt(np.array([[1.0, 2.0], [3.0, 6.0]], "float32"))
    backbone = keras.Sequential([keras.Input((2,)), normalization, keras.layers.Dense(3)])
    fresh = _fresh(backbone)
    x = np.array([[5.0, -1.0]], "float32")
    np.testing.assert_allclose(*(keras.ops.convert_to_numpy(b.layers[0](x)) for b in (fresh, backbone)))
    assert np.abs(fresh.get_weights()[-2] - backbone.get_weights()[-2]).max() > 0.01


def test_the_control_gets_as_many_steps_and_batch_norm_settles():
    backbone = cnn((8, 8, 1), filters=(4,))
    made = wiring(backbone, policy=linear_probe(epochs=3) + full(epochs=4), batch_size=8)
    assert made._steps(made.policy("pretrained", 15), 15) == 14
    steps = made._steps(made.policy("scratch", 15, 1e-3), 15)
    assert steps == 44  # 0.9 ** 44 < 0.01; two steps an epoch
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.99
    slow = wiring(backbone, policy=linear_probe(epochs=3))
    assert slow._steps(slow.policy("scratch", 15), 15) >= np.log(0.01) / np.log(0.99)


def test_the_default_policy_counts_steps_not_epochs():
    made = wiring(mlp((6,), units=(8,)), policy=None)
    few, many = (made._steps(made.policy("pretrained", n), n) for n in (10, 1000))
    assert few <= many <= few + 64
    assert made._steps(made.policy("scratch", 10), 10) >= few


def test_own_scratch_policy_gets_the_chosen_rate():
    made = wiring(mlp((6,), units=(8,)), scratch_policy=linear_probe(epochs=3) + full(epochs=3))
    policy = made.policy("scratch", 15, 0.5)
    assert [stage.learning_rate for stage in policy] == [0.5, 0.5]
    assert "linear_probe" in made.summary()[0]["scratch"]
