"""A text backbone of KerasHub works as it is."""

import keras
import numpy as np
import pytest

import tftransfer as tt


@pytest.fixture
def bert():
    keras_hub = pytest.importorskip("keras_hub", reason="KerasHub is not installed (extra hub)")
    sizes = {
        "num_layers": 2,
        "num_heads": 2,
        "hidden_dim": 16,
        "intermediate_dim": 32,
        "max_sequence_length": 12,
    }
    return keras_hub.models.BertBackbone(vocabulary_size=30, **sizes)


def examples():
    ids = np.random.default_rng(0).integers(5, 29, (24, 9)).astype("int32")
    ids[::2, 6:] = 0
    return ids, np.arange(24) % 2


def test_features_are_its_own(bert):
    ids, _ = examples()
    features = np.asarray(tt.layers.plain_ids(bert)(ids))
    inputs = {"token_ids": ids, "padding_mask": (ids > 0).astype("int32"), "segment_ids": np.zeros_like(ids)}
    own = np.asarray(bert(inputs)["sequence_output"])
    np.testing.assert_allclose(features[ids > 0], own[ids > 0], atol=1e-6)
    assert not features[ids == 0].any()


def test_pretrained_saved_and_fine_tuned(bert, tmp_path):
    ids, y = examples()
    path = tmp_path / "hub.weights.h5"
    objective = tt.objectives.MaskedLM(bert, mask_id=29)
    tt.pretrain(objective, ids, epochs=1, batch_size=8, save_to=path, verbose=0)
    task = tt.tasks.Classifier(path, num_classes=2)
    policy = tt.policies.linear_probe(1) + tt.policies.layer_decay(0.8, epochs=1, learning_rate=1e-3)
    tt.finetune(task, (ids, y), policy=policy, batch_size=8, verbose=0)
    assert len(tt.finetuning.depth.depth_groups(task, tt.finetuning.variable_paths(task))[0]) == 4
    assert tt.evaluate(task, (ids, y), verbose=0).metrics["accuracy"] >= 0
    straight = tt.tasks.Classifier(bert, num_classes=2)
    assert keras.ops.shape(straight(ids)) == (24, 2)
