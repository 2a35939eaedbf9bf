"""Embeddings computed once give what running the frozen backbone in every step gives."""

import keras
import numpy as np
import pytest

from tftransfer.finetuning import features, finetune
from tftransfer.finetuning.freezing import apply_stage
from tftransfer.finetuning.prefix import why_it_moves
from tftransfer.policies import full, linear_probe
from tftransfer.tasks import Classifier


class Slow(Classifier):
    """A task that finetune does not know to be backbone, pool and head, so that it runs all in every step."""

    def call(self, inputs, training=None):
        return super().call(inputs, training=training)


def probed(make_task, *kind, **options):
    task = make_task(*kind, **options)
    apply_stage(linear_probe(1).stages[0], task)
    return task


@pytest.mark.compute
def test_embeddings_are_bit_equal(make_task, data):
    task = probed(make_task)
    embedder, _ = features.helpers(task)
    embeddings, y = features.embed(embedder, data, batch_size=8)
    live = np.concatenate([keras.ops.convert_to_numpy(task.embed(data[0][i : i + 8])) for i in (0, 8, 16)])
    if keras.backend.backend() == "jax":  # `live` is not compiled there, so not fused
        np.testing.assert_allclose(embeddings, live, atol=1e-6)
    else:
        np.testing.assert_array_equal(embeddings, live)
    np.testing.assert_array_equal(y, data[1])


@pytest.mark.compute
def test_same_weights_as_running_the_backbone_in_every_step(make_task, data, validation):
    histories, weights = [], []
    for kind in (Classifier, Slow):
        task = make_task(kind, backbone_bias=False)
        policy = linear_probe(4, learning_rate=1e-2) + full(2, learning_rate=1e-3)
        histories.append(
            finetune(task, data, validation_data=validation, policy=policy, batch_size=8, verbose=0).history
        )
        weights.append(task.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    for name, values in histories[0].items():
        np.testing.assert_allclose(values, histories[1][name], atol=1e-5)


def why_not(task, data):
    """Why not all of a frozen backbone runs once, in words; None where it does."""
    half = features.frozen_half(task, data, 22)
    assert bool(half.before and not half.behind) == (half.reason is None)
    return half.reason


def test_why_not(make_task, data):
    assert why_not(probed(make_task), data) is None
    assert "draws random numbers" in why_not(probed(make_task, backbone_dropout=0.5), data)
    assert "call of its own" in why_not(probed(make_task, Slow), data)

    task = probed(make_task)
    task.backbone.get_layer("norm_01").trainable = True  # it has no variable to train, but statistics
    assert "norm_01 is live" in why_not(task, data)

    task = probed(make_task)
    task.augmentation = keras.layers.RandomFlip()
    assert "augmented" in why_not(task, data)


def test_of_what_is_trained_nothing_runs_once(make_task, data):
    task = make_task()
    apply_stage(full(1).stages[0], task)
    assert "is trained" in why_it_moves(task.backbone)
    before, behind, reason = features.frozen_half(task, data, 22)
    assert not before and behind == [task.backbone] and reason is None  # nothing was left untrained


def test_a_datasets_examples_may_change(make_task, data):
    tf = pytest.importorskip("tensorflow")
    assert "may give other" in why_not(probed(make_task), tf.data.Dataset.from_tensor_slices(data))


def test_callbacks_see_the_task(make_task, data):
    seen = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append((self.model, float(self.model.optimizer.learning_rate)))

    task = make_task()
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    finetune(task, data, policy=linear_probe(3, learning_rate=8e-3), callbacks=[schedule, Look()], verbose=0)
    assert all(model is task for model, _ in seen)
    np.testing.assert_allclose([rate for _, rate in seen], [4e-3, 2e-3, 1e-3], rtol=1e-6)


def test_the_helpers_follow_a_new_head_and_are_not_saved(make_task, data, tmp_path):
    task = make_task()
    finetune(task, data, policy=linear_probe(1), verbose=0)
    first = features.helpers(task)
    assert features.helpers(task)[1] is first[1]
    task.save_weights(tmp_path / "with.weights.h5")
    fresh = make_task()
    fresh.load_weights(tmp_path / "with.weights.h5")
    np.testing.assert_array_equal(fresh.get_weights()[-1], task.get_weights()[-1])
    task.swap_head(3)
    finetune(task, data, policy=linear_probe(1), verbose=0)
    assert features.helpers(task)[1].head is task.head
    assert len(task.layers) == len(fresh.layers)
