"""lr_find(): a rate that serves, and nothing changed by looking for it."""

import random

import keras
import numpy as np
import pytest

from tests.finetuning.conftest import pictures, small_backbone
from tftransfer.finetuning import finetune
from tftransfer.finetuning.rate_curve import LearningRates
from tftransfer.finetuning.rate_finder import lr_find
from tftransfer.policies import Stage, full, l2_sp, linear_probe


def state(task):
    optimizer = getattr(task, "optimizer", None)
    variables = [*task.variables, *(optimizer.variables if optimizer else [])]
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def equal(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.compute
def test_nothing_has_changed(make_task, data):
    task = make_task(backbone_dropout=0.3)
    task.backbone.get_layer("conv_00").trainable = False
    task.compile(keras.optimizers.Adam(1e-3), task.default_loss(), metrics=["accuracy"])
    task.fit(*data, verbose=0)
    before, compiled = state(task), [task.optimizer, task.train_function, task.loss, task.compiled]
    flags = [(layer.name, layer.trainable) for layer in task._flatten_layers()]
    keras.random.uniform(())  # makes Keras's global seed generator, where there was none
    keras.utils.set_random_seed(5)
    expected = [random.random(), np.random.rand(), float(keras.random.uniform(()))]
    for policy in (None, full(), linear_probe()):
        keras.utils.set_random_seed(5)
        lr_find(task, data, policy=policy, steps=10, batch_size=8)
        assert [random.random(), np.random.rand(), float(keras.random.uniform(()))] == expected
        assert equal(before, state(task))
        assert all(
            a is b for a, b in zip(compiled, [task.optimizer, task.train_function, task.loss], strict=False)
        )
        assert flags == [(layer.name, layer.trainable) for layer in task._flatten_layers()]


def test_training_goes_on_as_if_it_had_not_been(make_task, data):
    tasks = [make_task(backbone_dropout=0.3) for _ in range(2)]
    for task in tasks:
        task.compile(keras.optimizers.Adam(1e-2), task.default_loss())
        task.fit(*data, shuffle=False, verbose=0)
    lr_find(tasks[0], data, steps=10, batch_size=8)
    for task in tasks:
        task.fit(*data, shuffle=False, verbose=0)
    assert equal(state(tasks[0]), state(tasks[1]))


def test_it_is_put_back_also_when_it_fails(make_task, data):
    task = make_task()
    before = state(task)

    class Fails(keras.optimizers.SGD):
        def update_step(self, *arguments):
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        lr_find(task, data, optimizer=Fails(), steps=10)
    assert equal(before, state(task)) and not task.compiled


@pytest.mark.compute
def test_the_ramp_is_what_by_hand_gives(data):
    """SGD on one linear layer, in NumPy."""
    x = data[0].reshape(len(data[0]), -1)[:16]
    y = x[:, :1] * 2 - 1
    model = keras.Sequential([keras.Input(x.shape[1:]), keras.layers.Dense(1, use_bias=False)])
    model.compile("sgd", "mse")
    w = model.get_weights()[0].astype("float64")
    found = lr_find(model, (x, y), between=(1e-3, 1e-2), steps=12, batch_size=16)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-3, 1e-2, 12))
    for rate, loss in zip(found.rates, found.losses, strict=True):
        error = x @ w - y
        np.testing.assert_allclose(loss, np.mean(error**2), rtol=1e-4)
        w -= rate * 2 * x.T @ error / len(x)


def test_the_suggestion_trains(make_task):
    data = pictures(120)
    found = lr_find(make_task(), data, policy=full(), steps=60)
    assert 1e-4 < found.suggestion < 0.3
    assert found.suggestion <= found.minimum / 10 * 1.001
    history = finetune(make_task(), data, policy=full(4, learning_rate=found.suggestion), verbose=0).history
    assert history["loss"][-1] < 0.6 * history["loss"][0]


def test_multipliers_hold(make_task, data):
    task = make_task()
    seen = []

    class Look(keras.optimizers.SGD):
        def update_step(self, gradient, variable, learning_rate):
            seen.append(variable.name)
            return super().update_step(gradient, variable, learning_rate)

    lr_find(task, data, policy=Stage("head", {"^head/kernel": 1.0, ".*": 0.0}, 1), optimizer=Look(), steps=10)
    assert {name.split("/")[-1].split(":")[0] for name in seen} == {"kernel"}
    slow = Stage("slow", {"^head": 1.0, ".*": 1e-3}, 1)
    assert lr_find(task, data, policy=slow, steps=10).rates.size == 10


def test_it_ends_when_the_loss_explodes(make_task, data):
    task = make_task()
    found = lr_find(task, data, between=(1e-3, 1e6), optimizer=keras.optimizers.SGD(), steps=40)
    assert not found.complete and len(found.rates) == len(found.losses) < 40
    assert np.isfinite(found.losses).all()


def test_a_batch_larger_than_the_data_and_datasets(make_task, data):
    tf = pytest.importorskip("tensorflow")
    x, y = data
    dataset = tf.data.Dataset.from_tensor_slices((x, np.eye(3, dtype="float32")[y]))
    for given in (data, dataset, dataset.batch(8)):
        assert lr_find(make_task(), given, steps=10, batch_size=500).rates.size == 10


def test_curves():
    rates = np.geomspace(1e-6, 1, 61)
    falls = 2 - 1.5 * np.exp(-((np.log10(rates) + 2) ** 2))
    found = LearningRates(rates, falls, complete=True)
    assert found.minimum == pytest.approx(1e-2, rel=0.3)
    assert found.minimum / 100 <= found.suggestion <= found.minimum / 10
    assert "Suggested peak learning rate" in str(found) and "still falling" not in str(found)
    flat = LearningRates(rates, np.full(61, 2.0), complete=True)
    assert flat.suggestion is None and "never fell" in str(flat)
    assert LearningRates(rates, np.linspace(2, 5, 61), complete=True).suggestion is None
    assert "still falling" in str(LearningRates(rates, np.linspace(5, 2, 61), complete=True))
    for result in (found, flat):
        (axes,) = result.plot().axes
        assert axes.get_xscale() == "log" and axes.get_xlabel() == "learning rate"


def test_mistakes_raise(make_task, data):
    task = make_task()
    for options, message in (
        ({"between": (1.0, 1e-3)}, "between"),
        ({"between": 3}, "between"),
        ({"steps": 3}, "steps"),
        ({"policy": linear_probe() + full()}, "one stage"),
        ({"policy": l2_sp()}, "one stage"),
        ({"policy": "full"}, "one stage"),
    ):
        with pytest.raises(ValueError, match=message):
            lr_find(task, data, **options)
    with pytest.raises(ValueError, match="labels"):
        lr_find(task, data[0])
    with pytest.raises(ValueError, match="compiled with a loss"):
        lr_find(small_backbone(), data)
    task.head.kernel.assign(np.full((6, 3), np.nan))
    with pytest.raises(ValueError, match="diagnose"):
        lr_find(task, data, steps=10)
