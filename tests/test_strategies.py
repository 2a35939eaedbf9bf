"""The library's own calls under two replicas give what one device gives."""

import keras
import numpy as np
import pytest

import tftransfer as tt

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tf.distribute is TensorFlow's"
)


def stories(name, x, y, tmp_path):
    """Weights after pretraining, and predictions after fine-tuning, under a strategy."""
    strategy = tt.placement.strategy(name, verbose=False)
    path = tmp_path / f"{name}.weights.h5"
    keras.utils.set_random_seed(0)
    with strategy.scope():
        objective = tt.objectives.SimCLR(tt.backbones.cnn((8, 8, 1), filters=(4, 8)), temperature=0.5)
        objective.compile(keras.optimizers.SGD(0.005))
    watched = {"probe_data": (x, y), "health": "warn"}
    history = tt.pretrain(objective, x, epochs=2, batch_size=16, save_to=path, verbose=0, **watched)
    keras.utils.set_random_seed(0)
    with strategy.scope():
        task = tt.tasks.Classifier(path, num_classes=2)
    policy = tt.policies.linear_probe(epochs=2, init="ridge") + tt.policies.full(epochs=2, learning_rate=1e-3)
    tuned = tt.finetune(
        task, (x, y), policy=policy, batch_size=16, optimizer=keras.optimizers.SGD(0.01), verbose=0
    )
    report = tt.evaluate(task, (x, y), verbose=0)
    return {
        "pretraining loss": history.history["loss"],
        "effective rank": history.history["effective_rank"],
        "probe": history.history["probe_accuracy"],
        "fine-tuning loss": tuned.history["loss"],
        "weights": np.concatenate([np.ravel(w) for w in task.get_weights()]),
        "accuracy": report.metrics["accuracy"],
    }


def test_pretrain_finetune_and_evaluate_agree_with_one_device(tmp_path):
    x, y = np.random.default_rng(0).random((64, 8, 8, 1)).astype("float32"), np.arange(64) % 2
    one, two = (stories(name, x, y, tmp_path) for name in ("cpu", "mirrored"))
    for figure, value in one.items():
        np.testing.assert_allclose(two[figure], value, atol=1e-5, err_msg=figure)


def test_default_compile_makes_its_optimizer_in_the_scope():
    with tt.placement.strategy("mirrored", verbose=False).scope():
        objective = tt.objectives.Autoencoder(tt.backbones.mlp((8,), units=(4,)))
    history = tt.pretrain(objective, np.random.rand(32, 8), epochs=1, batch_size=8, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_what_each_replica_gets_is_said(capfd):
    x, y = np.random.default_rng(0).random((20, 8), "float32"), np.arange(20) % 2
    with tt.placement.strategy("mirrored", verbose=False).scope():
        backbone = tt.backbones.mlp((8,), units=(4,))
        objective, task = tt.objectives.Autoencoder(backbone), tt.tasks.Classifier(backbone, 2)
    tt.pretrain(objective, x, epochs=1, batch_size=8)
    assert "batch: 8 examples a step, 2 replicas × 4; short batches are left out" in capfd.readouterr().out
    tt.finetune(task, (x, y), policy=tt.policies.linear_probe(1), batch_size=7)
    assert (
        "batch: 7 examples a step, up to 2 replicas × 4; a short last batch is kept" in capfd.readouterr().out
    )


def test_bfloat16_is_refused_on_processors_without_units_for_it(monkeypatch):
    monkeypatch.setattr("tftransfer.placement.precision._has_units", lambda: False)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        backbone = tt.backbones.mlp((8,), units=(4,))
        objective, task = tt.objectives.Autoencoder(backbone), tt.tasks.Classifier(backbone, 2)
    finally:
        keras.config.set_dtype_policy(before)
    x = np.zeros((8, 8), "float32")
    with pytest.raises(ValueError, match="25 to 90 times slower"):
        tt.pretrain(objective, x, verbose=0)
    with pytest.raises(ValueError, match="25 to 90 times slower"):
        tt.finetune(task, (x, np.arange(8) % 2), verbose=0)
