"""SWA and EMA: the right averages, seen by validation and kept, with the statistics that belong to them."""

import keras
import numpy as np
import pytest

from tests.finetuning.conftest import pictures
from tftransfer.finetuning import finetune
from tftransfer.finetuning.averaging import ExponentialAverage, StochasticAverage
from tftransfer.finetuning.batch_statistics import refresh_batch_norm
from tftransfer.policies import Stage, full, linear_probe

pytestmark = pytest.mark.compute
X = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
Y = X @ np.array([[1.0], [-2.0], [0.5]], "float32")


def linear(optimizer):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="zeros", name="d")])
    model.compile(optimizer, "mse", metrics=["mae"])
    return model


class Own(keras.callbacks.Callback):
    """Before an average in the list: training's own weights at the ends of epochs."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def on_train_batch_end(self, batch, logs=None):
        self._last = [np.array(w) for w in self.model.get_weights()]

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append(self._last)


def fit(model, *callbacks, epochs=4, **options):
    return model.fit(
        X, Y, epochs=epochs, batch_size=32, shuffle=False, callbacks=callbacks, verbose=0, **options
    )


@pytest.mark.parametrize(("start", "averaged"), [(0.0, 4), (0.5, 2), (0.75, 1)])
def test_swa_is_the_mean_of_the_ends_of_epochs(start, averaged):
    plain, model, own = Own(), linear(keras.optimizers.SGD(0.2)), Own()
    fit(linear(keras.optimizers.SGD(0.2)), plain)
    history = fit(model, own, StochasticAverage(start=start), validation_data=(X, Y)).history
    for one, other in zip(own.weights, plain.weights, strict=True):  # training does not notice
        np.testing.assert_allclose(one[0], other[0], rtol=1e-6)
    mean = np.mean([w[0] for w in plain.weights[-averaged:]], axis=0)
    np.testing.assert_allclose(model.get_weights()[0], mean, rtol=1e-5)
    shown = history["val_loss"][-1]
    assert shown == pytest.approx(model.evaluate(X, Y, verbose=0)[0], rel=1e-5)


def test_ema_is_kerass_and_validation_sees_it():
    def optimizer():
        return keras.optimizers.SGD(0.2, use_ema=True, ema_momentum=0.5)

    stock, model = linear(optimizer()), linear(optimizer())
    fit(stock)
    seen = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append([np.array(w) for w in self.model.get_weights()])

    history = fit(model, ExponentialAverage(), Look(), validation_data=(X, Y)).history
    for one, other in zip(stock.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    np.testing.assert_allclose(seen[-1][0], model.get_weights()[0], rtol=1e-6)
    for weights, loss in zip(seen, history["val_loss"], strict=True):
        model.set_weights(weights)
        assert loss == pytest.approx(model.evaluate(X, Y, verbose=0)[0], rel=1e-4)


def test_stopping_early_keeps_the_average():
    """Keras's SwapEMAWeights keeps training's own weights here."""
    full_run = linear(keras.optimizers.SGD(0.2, use_ema=True, ema_momentum=0.5))
    fit(full_run, epochs=2)
    stopped = linear(keras.optimizers.SGD(0.2, use_ema=True, ema_momentum=0.5))

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    fit(stopped, ExponentialAverage(), Stop(), epochs=5)
    np.testing.assert_allclose(stopped.get_weights()[0], full_run.get_weights()[0], rtol=1e-6)


@pytest.mark.parametrize("kind", ["swa", "ema"])
def test_statistics_belong_to_the_average(make_task, kind):
    data = pictures(64)
    task = make_task()
    use_ema = {"use_ema": True, "ema_momentum": 0.8} if kind == "ema" else {}
    task.compile(keras.optimizers.Adam(1e-2, **use_ema), task.default_loss(), metrics=task.default_metrics())
    average = StochasticAverage(data, start=0.5) if kind == "swa" else ExponentialAverage(data)
    history = task.fit(
        *data, epochs=4, batch_size=16, callbacks=[average], validation_data=data, verbose=0
    ).history
    kept = [np.array(w) for w in task.get_weights()]
    refresh_batch_norm(task, data)
    for one, other in zip(kept, task.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
    assert history["val_loss"][-1] == pytest.approx(task.evaluate(*data, verbose=0)[0], rel=1e-3)


@pytest.mark.parametrize("kind", ["swa", "ema"])
def test_in_finetune_over_stages_the_best_epoch_is_an_average(make_task, kind):
    data, validation = pictures(48), pictures(30, seed=1)
    task = make_task()
    optimizer = keras.optimizers.Adam(use_ema=True, ema_momentum=0.9) if kind == "ema" else None
    average = StochasticAverage(data, start=0.0) if kind == "swa" else ExponentialAverage(data)
    history = finetune(
        task,
        data,
        validation_data=validation,
        policy=linear_probe(2) + full(3, learning_rate=3e-3),
        optimizer=optimizer,
        callbacks=[average],
        monitor="val_loss",
        verbose=0,
    )
    losses = history.history["val_loss"]
    assert history.best_epoch == int(np.argmin(losses))
    assert task.evaluate(*validation, verbose=0)[0] == pytest.approx(min(losses), rel=1e-3)


def test_training_under_swa_learns(make_task):
    data, validation = pictures(96), pictures(30, seed=1)
    task = make_task()
    stage = Stage("high", {".*": 1.0}, 12, learning_rate=2e-2, schedule="constant")
    finetune(
        task,
        data,
        policy=stage,
        validation_data=validation,
        callbacks=[StochasticAverage(data)],
        batch_size=16,
        verbose=0,
    )
    assert task.evaluate(*validation, verbose=0)[1] > 0.9


def test_mistakes_raise(make_task, data):
    for start in (1.0, -1, "late"):
        with pytest.raises(ValueError, match="start"):
            StochasticAverage(start=start)
    with pytest.raises(ValueError, match="use_ema"):
        fit(linear("sgd"), ExponentialAverage())
    task = make_task()
    task.compile("sgd", task.default_loss())
    with pytest.raises(ValueError, match="needs data="):
        task.fit(*data, callbacks=[StochasticAverage()], verbose=0)
