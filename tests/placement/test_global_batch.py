"""The one place that works out batches and rates."""

import keras
import pytest

from tftransfer import placement

pytestmark = pytest.mark.compute


def test_nothing_is_scaled_by_itself(capsys):
    plan = placement.batch_plan(256, learning_rate=0.1)
    assert (plan.batch_size, plan.replicas, plan.per_replica, plan.learning_rate) == (256, 1, 256, 0.1)
    assert plan.steps_per_epoch is plan.left_out is None and not plan.drop_remainder
    assert capsys.readouterr().out.count("\n") == 1
    placement.batch_plan(256, verbose=False)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("scaling", "rate"), [("none", 0.1), ("linear", 0.8), ("square root", 0.1 * 8**0.5)])
def test_scaling(scaling, rate):
    plan = placement.batch_plan(2048, learning_rate=0.1, scaling=scaling, verbose=False)
    assert plan.learning_rate == pytest.approx(rate)
    assert ("scaling of 0.1 at 256" in str(plan)) is (scaling != "none")
    smaller = placement.batch_plan(
        64, learning_rate=0.1, scaling="linear", base_batch_size=128, verbose=False
    )
    assert smaller.learning_rate == pytest.approx(0.05)


@pytest.mark.parametrize(("drop", "steps", "left_out"), [(True, 3, 10), (False, 4, 0), ("auto", 4, 0)])
def test_steps(drop, steps, left_out):
    plan = placement.batch_plan(30, examples=100, drop_remainder=drop, verbose=False)
    assert (plan.steps_per_epoch, plan.left_out) == (steps, left_out)


def test_two_replicas(mirrored):
    with mirrored.scope():
        model = keras.Sequential([keras.layers.Dense(1)])
        plan = placement.batch_plan(31, verbose=False)
    assert (plan.replicas, plan.per_replica, plan.drop_remainder) == (2, 16, False)
    assert "up to 2 replicas × 16" in str(plan)
    assert placement.batch_plan(32, model, verbose=False).per_replica == 16
    assert placement.batch_plan(1, mirrored, verbose=False).per_replica == 1


class Eight:
    num_replicas_in_sync = 8


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TPUStrategy is TensorFlow's")
def test_a_tpu_shares_evenly_only(monkeypatch):
    monkeypatch.setattr("tftransfer.placement.global_batch._is_tpu", lambda strategy: True)
    assert placement.batch_plan(64, Eight(), verbose=False).drop_remainder
    with pytest.raises(ValueError, match="use 56 or 64"):
        placement.batch_plan(60, Eight())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": True}, "batch_size"),
        ({"base_batch_size": 2.5}, "base_batch_size"),
        ({"examples": 0}, "examples"),
        ({"scaling": "cubic"}, "cubic"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"learning_rate": "auto"}, "schedule"),
        ({"drop_remainder": "never"}, "never"),
        ({"placed": "mirrored"}, "str"),
    ],
)
def test_mistakes(arguments, message):
    if "placed" in arguments and keras.backend.backend() == "jax":
        pytest.skip("says so on TensorFlow")
    with pytest.raises(ValueError, match=message):
        placement.batch_plan(**{"batch_size": 8, **arguments})


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="about several JAX devices")
def test_jax_devices_share_or_compute_all():
    assert placement.batch_plan(64, Eight(), verbose=False).per_replica == 8
    plan = placement.batch_plan(60, Eight(), verbose=False)
    assert plan.per_replica == 60 and plan.drop_remainder
