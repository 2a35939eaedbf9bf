"""Accumulated gradients end where one big batch would: with batches that do not divide, multipliers, averages."""

import keras
import numpy as np
import pytest

import tftransfer as tt
from tests.choice import each
from tftransfer.finetuning import finetune
from tftransfer.finetuning.accumulation import Accumulation, accumulation_of
from tftransfer.policies import Stage, full, layer_decay, linear_probe


def build(dropout=0.0):
    keras.utils.set_random_seed(4)
    return tt.tasks.Classifier(tt.backbones.mlp((6,), units=(8, 8)), num_classes=3, dropout=dropout)


def table(count):
    random = np.random.default_rng(0)
    x = random.normal(size=(count, 6)).astype("float32")
    return x, (x[:, :3] + 0.3 * random.normal(size=(count, 3))).argmax(axis=1)


def tuned(optimizer, data, policy, batch_size, accumulate=None, **options):
    task = build()
    history = finetune(
        task,
        data,
        policy=policy,
        batch_size=batch_size,
        accumulate=accumulate,
        optimizer=optimizer,
        verbose=0,
        **options,
    )
    return task.get_weights(), history.history


CASES = {
    "whole groups": (24, 3, 4),
    "a short group": (27, 3, 4),
    "a short batch in a group": (23, 4, 3),
    "a short batch alone in the last group": (26, 4, 3),
    "an epoch shorter than a group": (7, 2, 8),
}


@pytest.mark.compute
@pytest.mark.parametrize("name", each(CASES, [name for name in CASES if "short" in name]))
def test_equals_one_big_batch(name):
    count, size, every = CASES[name]
    data = table(count)
    policy = layer_decay(0.5, epochs=3, learning_rate=1e-2)
    results = []
    for batch_size, accumulate in ((size, every), (size * every, None)):
        sgd = keras.optimizers.SGD(momentum=0.9, weight_decay=0.1, global_clipnorm=0.3)
        results.append(tuned(sgd, data, policy, batch_size, accumulate, validation_data=data))
    for one, other in zip(results[0][0], results[1][0], strict=True):
        np.testing.assert_allclose(one, other, atol=2e-6)
    np.testing.assert_allclose(results[0][1]["val_loss"], results[1][1]["val_loss"], rtol=1e-4)


def test_averages_and_cached_embeddings_too():
    data = table(23)
    policy = linear_probe(3) + full(2, learning_rate=1e-2)
    results = []
    for size, accumulate in ((4, 3), (12, None)):
        optimizer = keras.optimizers.AdamW(use_ema=True, ema_momentum=0.7, epsilon=1e-3)
        results.append(tuned(optimizer, data, policy, size, accumulate, validation_data=data)[0])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_optimizers_own_steps_are_taken():
    data, policy = table(23), full(2, learning_rate=1e-2)
    own = tuned(keras.optimizers.SGD(gradient_accumulation_steps=3), data, policy, 4)[0]
    argument = tuned(keras.optimizers.SGD(), data, policy, 4, 3)[0]
    for one, other in zip(own, argument, strict=True):
        np.testing.assert_array_equal(one, other)
    off = tuned(keras.optimizers.SGD(gradient_accumulation_steps=3), data, policy, 4, 1)[0]
    assert any((one != other).any() for one, other in zip(own, off, strict=True))


@pytest.mark.compute
def test_penalties_count_once():
    """A regularizer adds its gradient in each batch; the update must hold it once."""
    results = []
    for size, accumulate in ((4, 3), (12, None)):
        task = build()
        task.backbone.layers[1].kernel.regularizer = keras.regularizers.L2(0.5)
        options = {"policy": full(2, learning_rate=1e-2), "optimizer": keras.optimizers.SGD(), "verbose": 0}
        finetune(task, table(23), batch_size=size, accumulate=accumulate, **options)
        results.append(task.get_weights())
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-6)


def test_sizes_of_batches():
    data = table(23)
    given = {"batch_size": 4, "steps": 6, "input_shape": (6,)}
    assert accumulation_of(3, None, data, **given) == Accumulation(3, 6, 4, 3)
    assert accumulation_of(None, None, data, **given) is None
    assert accumulation_of(1, None, data, **given) is None
    assert Accumulation(4, 6).updates == 2 and Accumulation(4, 6).padded == 8


def test_datasets():
    tf = pytest.importorskip("tensorflow")
    dataset = tf.data.Dataset.from_tensor_slices(table(23))
    given = {"batch_size": 4, "steps": 6, "input_shape": (6,)}
    assert accumulation_of(3, None, dataset, **given) == Accumulation(3, 6, 4, 3)
    assert accumulation_of(3, None, dataset.batch(4), **given) == Accumulation(3, 6)
    history = finetune(build(), dataset.batch(4), policy=full(2), accumulate=3, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_updates_are_counted_and_the_task_can_be_saved(tmp_path, capsys):
    task = build()
    rates = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            optimizer = self.model.optimizer
            rates.append((int(optimizer.iterations), float(optimizer.learning_rate)))

    stage = Stage("one", {".*": 1.0}, 2, learning_rate=0.1)
    finetune(task, table(20), policy=stage, batch_size=4, accumulate=2, callbacks=[Look()], verbose=2)
    assert "over 6 steps, an update for 2 batches" in capsys.readouterr().out
    assert [updates for updates, _ in rates] == [0, 0, 1, 1, 2, 3, 3, 4, 4, 5]
    expected = [0.05 * (1 + np.cos(np.pi * updates / 6)) for updates, _ in rates]
    np.testing.assert_allclose([rate for _, rate in rates], expected, rtol=1e-5)
    task.save(tmp_path / "task.keras")
    again = keras.models.load_model(tmp_path / "task.keras")
    for one, other in zip(task.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("accumulate", [0, -1, 2.0, True, "2"])
def test_mistakes_raise(accumulate):
    with pytest.raises(ValueError, match="accumulate"):
        finetune(build(), table(12), accumulate=accumulate, verbose=0)


def test_averages_that_overwrite_are_refused():
    optimizer = keras.optimizers.SGD(use_ema=True, ema_overwrite_frequency=5)
    with pytest.raises(ValueError, match="ema_overwrite_frequency"):
        finetune(build(), table(12), accumulate=2, optimizer=optimizer, verbose=0)


def test_two_replicas_accumulate_as_one_device_does():
    """Groups that end with the epoch, batches of one example, multipliers, decay, schedules."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("tf.distribute replicas exist on TensorFlow only")
    weights = []
    for name in ("cpu", "mirrored"):
        with tt.placement.strategy(name, verbose=False).scope():
            task = build()
            optimizer = keras.optimizers.AdamW(weight_decay=0.1, epsilon=1e-3, global_clipnorm=0.3)
        policy = linear_probe(1) + layer_decay(0.5, epochs=2, learning_rate=1e-2)
        options = {"accumulate": 3, "batch_size": 4, "optimizer": optimizer, "cache": False, "verbose": 0}
        finetune(task, table(21), policy=policy, **options)
        weights.append(task.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
