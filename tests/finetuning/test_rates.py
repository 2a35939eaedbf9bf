"""The learning rate of each step: warm-up and cosine, one cycle, constant, multipliers, and where a rate comes from."""

import keras
import numpy as np
import pytest

from tftransfer.finetuning.accumulation import Accumulation
from tftransfer.finetuning.rates import OneCycleSchedule, make_optimizer, stage_rate
from tftransfer.policies import OneCycle, Stage, bitfit

pytestmark = pytest.mark.compute


def rates(optimizer, steps):
    schedule = optimizer._learning_rate
    return np.array([float(schedule(step)) for step in range(steps)])


def test_warm_up_then_cosine_to_zero():
    optimizer, words = make_optimizer(0.1, schedule="cosine", steps=50)
    expected = [0.1 * (step + 1) / 6 + 0 for step in range(5)]
    seen = rates(optimizer, 50)
    np.testing.assert_allclose(seen[0], 0.1 / 6, rtol=1e-5)  # the first step moves
    assert (np.diff(seen[:6]) > 0).all() and seen[5] == pytest.approx(0.1)
    np.testing.assert_allclose(seen[:5], expected, rtol=1e-4)
    after = np.arange(45)
    np.testing.assert_allclose(seen[5:], 0.05 * (1 + np.cos(np.pi * after / 45)), atol=1e-6)
    assert words == "warm-up over 5 of 50 steps, then cosine"


def test_a_stage_too_short_to_warm_up():
    optimizer, words = make_optimizer(0.1, schedule="cosine", steps=5)
    assert rates(optimizer, 5)[0] == pytest.approx(0.1) and words == "cosine over 5 steps"
    optimizer, words = make_optimizer(0.1, schedule="cosine", steps=1)
    assert float(optimizer.learning_rate) == pytest.approx(0.1) and words == "constant"


def fastais(peak, steps, pct_start, div, final_div=1e5):
    """fastai's `combined_cos(pct_start, lr_max / div, lr_max, lr_max / final_div)`."""

    def cos(start, end, position):
        return start + (1 + np.cos(np.pi * (1 - position))) * (end - start) / 2

    places = np.linspace(0, 1, steps)
    return np.array(
        [
            cos(peak / div, peak, p / pct_start)
            if p < pct_start
            else cos(peak, peak / final_div, (p - pct_start) / (1 - pct_start))
            for p in places
        ]
    )


@pytest.mark.parametrize(
    ("schedule", "options"),
    [("one_cycle", (0.25, 25.0)), (OneCycle(0.3, 5.0), (0.3, 5.0)), (OneCycle(0.99), (0.99, 25.0))],
)
def test_one_cycle_is_fastais(schedule, options):
    optimizer, words = make_optimizer(2e-3, schedule=schedule, steps=40)
    np.testing.assert_allclose(rates(optimizer, 40), fastais(2e-3, 40, *options), rtol=1e-3, atol=1e-8)
    assert words.startswith("one cycle over 40 steps")


def test_one_cycle_is_saved():
    schedule = OneCycleSchedule(0.1, 10, warm_up=0.0, div=2.0)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert again.get_config() == schedule.get_config()
    assert float(again(0)) == pytest.approx(0.1) and float(again(99)) == pytest.approx(1e-6, rel=0.1)


def test_callbacks_and_schedules_of_the_users_own_have_the_say():
    for callback in (keras.callbacks.ReduceLROnPlateau(), keras.callbacks.LearningRateScheduler(lambda e: 1)):
        for schedule in ("cosine", "one_cycle"):
            optimizer, words = make_optimizer(0.1, schedule=schedule, steps=50, callbacks=[callback])
            assert words == "constant"
            optimizer.learning_rate = 0.5  # can be set
    own = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    optimizer, words = make_optimizer(own, schedule="cosine", steps=50)
    assert optimizer._learning_rate is own and words == ""
    _, words = make_optimizer(own, schedule="cosine", steps=50, accumulation=Accumulation(3, 9))
    assert words == "an update for 3 batches"


def test_where_the_rate_comes_from(make_task):
    task = make_task()
    given, open_ = (Stage("s", {".*": 1.0}, 1, rate) for rate in (0.5, None))
    assert stage_rate(given, task, keras.optimizers.SGD(0.2)) == (0.5, "")
    assert stage_rate(open_, task) == (1e-4, "the default")
    rate, origin = stage_rate(open_, task, keras.optimizers.SGD(0.2))
    assert rate == pytest.approx(0.2) and origin == "the optimizer's"
    task.pretraining_learning_rate = 3e-3
    assert stage_rate(open_, task) == (1e-3, "a third of pretraining's")
    few = bitfit().stages[0]  # few parameters: faster
    assert stage_rate(few, task) == (1e-2, "10 times full tuning's, 0.001")
    assert stage_rate(few, task, keras.optimizers.SGD(0.25)) == (0.25, "the optimizer's")
    task.pretraining_learning_rate = 0.3  # of SGD
    assert stage_rate(open_, task) == (1e-3, "a third of pretraining's, at most 0.001")
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    assert stage_rate(open_, task, keras.optimizers.SGD(schedule)) == (schedule, "")


def test_the_configuration_of_the_users_optimizer_is_copied():
    given = keras.optimizers.AdamW(0.3, weight_decay=0.07, beta_1=0.8, global_clipnorm=2.0)
    optimizer, _ = make_optimizer(0.1, schedule="constant", steps=5, optimizer=given)
    assert optimizer is not given and isinstance(optimizer, keras.optimizers.AdamW)
    assert (optimizer.weight_decay, optimizer.beta_1, optimizer.global_clipnorm) == (0.07, 0.8, 2.0)
    wrapped = keras.optimizers.LossScaleOptimizer(given)
    assert not hasattr(
        make_optimizer(0.1, schedule="constant", steps=5, optimizer=wrapped)[0], "inner_optimizer"
    )
