"""finetune(): equal to doing it by hand, one history, the best epoch, and clear errors before any step."""

import keras
import numpy as np
import pytest

import tftransfer as tt
from tftransfer.finetuning import finetune
from tftransfer.finetuning.rates import make_optimizer
from tftransfer.policies import Stage, full, linear_probe


def values(model):
    return [np.array(v) for v in model.get_weights()]


@pytest.mark.compute
def test_equals_compile_and_fit_by_hand(make_task, data):
    ours, by_hand = make_task(), make_task()
    finetune(ours, data, policy=full(2, learning_rate=1e-2), batch_size=8, verbose=0)

    optimizer, _ = make_optimizer(1e-2, schedule="cosine", steps=6)
    by_hand.compile(optimizer, by_hand.default_loss(), metrics=by_hand.default_metrics())
    batches = tt.data.batches(data, batch_size=8, shuffle=True, repeat=True, seed=0)
    by_hand.fit(batches, epochs=2, steps_per_epoch=3, verbose=0, shuffle=False)
    for one, other in zip(values(ours), values(by_hand), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.compute
def test_stages_make_one_history(make_task, data, validation):
    task = make_task()
    policy = linear_probe(2) + full(3, learning_rate=1e-3)
    history = finetune(task, data, validation_data=validation, policy=policy, verbose=0)
    assert history.epoch == [0, 1, 2, 3, 4]
    assert {len(v) for v in history.history.values()} == {5}
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(history.history)
    assert [(s["name"], s["epochs"]) for s in history.stages] == [("linear_probe", 2), ("full", 3)]
    assert task.history is history


def test_learns(make_task, data, validation):
    history = finetune(
        make_task(),
        data,
        validation_data=validation,
        policy=linear_probe(3, learning_rate=1e-2) + full(25, learning_rate=2e-2),
        batch_size=8,
        verbose=0,
    )
    assert history.history["val_accuracy"][history.best_epoch] > 0.9


def test_the_best_epoch_over_all_stages_is_kept(make_task, data, validation):
    class Remember(keras.callbacks.Callback):
        weights = []

        def on_epoch_end(self, epoch, logs=None):
            self.weights.append(values(self.model))

    task, remember = make_task(), Remember()
    policy = linear_probe(2, learning_rate=1e-2) + full(3, learning_rate=3e-2)
    history = finetune(
        task,
        data,
        validation_data=validation,
        policy=policy,
        callbacks=[remember],
        monitor="val_loss",
        verbose=0,
    )
    losses = history.history["val_loss"]
    assert history.best_epoch == int(np.argmin(losses))
    for one, other in zip(values(task), remember.weights[history.best_epoch], strict=True):
        np.testing.assert_array_equal(one, other)


def test_same_seed_same_weights(make_task, data):
    def run(seed):
        task = make_task()
        finetune(task, data, policy=full(2, learning_rate=1e-2), batch_size=8, seed=seed, verbose=0)
        return values(task)

    for one, other in zip(run(1), run(1), strict=True):
        np.testing.assert_array_equal(one, other)
    assert any((one != other).any() for one, other in zip(run(1), run(2), strict=True))


def test_a_batch_larger_than_the_data_is_cut(make_task, data):
    task = make_task()
    finetune(task, data, policy=full(3), batch_size=512, verbose=0)
    assert int(task.optimizer.iterations) == 3


def test_one_line_says_what_a_stage_does(make_task, data, capsys):
    task = make_task()
    task.pretraining_learning_rate = 3e-3
    finetune(task, data, policy=linear_probe(1) + full(1), batch_size=2, verbose=2)
    first, second = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Stage")]
    assert "Stage 1 of 2, linear_probe: trains 21 of" in first
    assert "inference mode (all 2)" in first and "embeddings computed once" in first
    assert "learning rate 0.01 (warm-up over 1 of 11 steps, then cosine)" in first
    assert "live (all 2)" in second and "learning rate 0.001 (a third of pretraining's" in second


def test_early_stopping_ends_the_stage_not_the_run(make_task, data, validation):
    for policy in (linear_probe(4) + full(2), full(4, learning_rate=1e-5) + full(2)):
        stop = keras.callbacks.EarlyStopping("val_loss", patience=1, min_delta=10.0)
        history = finetune(
            make_task(), data, validation_data=validation, policy=policy, callbacks=[stop], verbose=0
        )
        first, second = (stage["epochs"] for stage in history.stages)
        assert first == 2 and second in (1, 2)  # before Keras 3.15 it remembers the best of the stage before
        assert history.epoch == list(range(2 + second))


def test_a_loss_that_is_no_number_stops_with_advice(make_task, data):
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        sgd = keras.optimizers.SGD()
        finetune(make_task(), data, policy=full(30, learning_rate=1e30), optimizer=sgd, verbose=0)


def test_labels_may_be_one_hot(make_task, data):
    x, y = data
    history = finetune(make_task(), (x, np.eye(3, dtype="float32")[y]), policy=full(1), verbose=0)
    assert 0 <= history.history["accuracy"][0] <= 1


def test_tf_data(make_task, data):
    tf = pytest.importorskip("tensorflow")
    dataset = tf.data.Dataset.from_tensor_slices(data)
    for given in (dataset, dataset.batch(8), dataset.filter(lambda x, y: True).batch(8)):
        task = make_task()
        history = finetune(task, given, validation_data=dataset, policy=full(2), batch_size=8, verbose=0)
        assert history.epoch == [0, 1]
        assert int(task.optimizer.iterations) == 6
    with pytest.raises(ValueError, match="no end"):
        finetune(make_task(), dataset.batch(8).repeat(), policy=linear_probe(2), verbose=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"policy": Stage("typo", {"^haed/": 1.0, ".*": 0.0}, 1)}, "is found in no variable path"),
        ({"policy": full(1) + Stage("nothing", {".*": 0.0}, 1)}, "would train nothing"),
        ({"policy": "linear_probe"}, "policy must be"),
        ({"data": (np.full((9, 6, 6, 1), np.nan, "float32"), np.arange(9) % 3)}, "NaN"),
        ({"data": (np.zeros((9, 6, 6, 1), "float32"), np.arange(9))}, "labels from 0 to 8"),
        ({"data": (np.zeros((9, 6, 6, 1), "float32"), None)}, "labels"),
        ({"data": (np.zeros((9, 6, 6, 1), "float32"), np.zeros(9, int))}, "one class"),
        ({"data": (np.zeros((9, 7, 6, 1), "float32"), np.arange(9) % 3)}, "shape"),
        ({"data": (np.zeros((0, 6, 6, 1), "float32"), np.zeros(0, int))}, "empty"),
        ({"validation_data": (np.zeros((9, 7, 6, 1), "float32"), np.arange(9) % 3)}, "validation_data"),
    ],
)
def test_mistakes_raise_before_any_step(make_task, data, change, message):
    task = make_task()
    before = values(task)
    with pytest.raises(ValueError, match=message):
        finetune(task, **{"data": data, "verbose": 0, **change})
    for one, other in zip(before, values(task), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not task.compiled


def test_a_plain_model_is_no_task(data):
    with pytest.raises(ValueError, match="takes a task"):
        finetune(keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Flatten()]), data)


def test_an_unknown_monitor_says_which_there_are(make_task, data, validation):
    with pytest.raises(ValueError, match="val_accuracy"):
        finetune(make_task(), data, validation_data=validation, monitor="val_f1", policy=full(1), verbose=0)
