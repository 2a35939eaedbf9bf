"""What users of Keras suffered from when they loaded weights, each under the number of its report."""

import keras
import numpy as np
import pytest
from keras import layers

from tftransfer import placement
from tftransfer.weights import (
    load_backbone,
    positions,
    save_backbone,
    token_embeddings,
    transfer_weights,
    variable_paths,
)


@pytest.fixture(autouse=True)
def trusted(monkeypatch):
    """These files are whole: no process is started to find that out."""
    monkeypatch.setattr("tftransfer.weights.sources.probe", lambda path, where: None)


def net(*parts, inputs=8):
    """net(("first", 4), 3): a layer named `first`, and one that Keras names."""
    dense = [layers.Dense(p) if isinstance(p, int) else layers.Dense(p[1], name=p[0]) for p in parts]
    return keras.Sequential([keras.Input((inputs,)), *dense])


def plain(model, tmp_path):
    model.save_weights(tmp_path / "m.weights.h5")
    return tmp_path / "m.weights.h5"


def equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a.get_weights(), b.get_weights(), strict=True))


def test_keras_11867_keras_retinanet_1173_ultralytics_17135_one_can_tell_whether_the_weights_were_loaded(
    tmp_path,
):
    source, target = net(("a", 4), ("b", 4)), net(("a", 4), ("b", 4))
    receipt = transfer_weights(plain(source, tmp_path), target)
    assert receipt.verify().assert_loaded().percent_loaded == 100 and equal(source, target)
    assert "4 loaded; 100.0% of parameters" in str(receipt)


def test_keras_9685_4778_no_name_in_common_is_an_error_and_not_a_silent_nothing(tmp_path):
    target = net(("x", 4), ("y", 4))
    before = target.get_weights()
    with pytest.raises(ValueError, match="4 of the model would stay random"):
        transfer_weights(plain(net(("a", 4), ("b", 4)), tmp_path), target)
    assert all(np.array_equal(a, b) for a, b in zip(before, target.get_weights(), strict=True))


def test_a_decoder_does_not_become_a_head(tmp_path):
    """Keras 3.15.1 gives a head of equal shape the decoder's kernel, without a word."""
    autoencoder = net(("code", 4), ("decoder", 8))
    classifier = net(("code", 4), ("head", 8))
    path = plain(autoencoder, tmp_path)
    with pytest.raises(ValueError, match=r"head/kernel.*decoder/0"):
        transfer_weights(path, classifier)
    receipt = transfer_weights(path, classifier, allow_missing="head", allow_unused="decoder")
    assert not np.array_equal(autoencoder.get_weights()[2], classifier.get_weights()[2])
    assert receipt.counts["random"] == receipt.counts["unused"] == 2


def test_an_inserted_layer_does_not_shift_the_others(tmp_path):
    source = net(("a", 8), ("b", 8))
    target = net(("a", 8), ("new", 8), ("b", 8))
    transfer_weights(plain(source, tmp_path), target, allow_missing="new")
    assert np.array_equal(target.get_weights()[4], source.get_weights()[2])


def test_layers_that_the_file_has_besides_are_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"2 of the source are not used.*b/0, b/1"):
        transfer_weights(plain(net(("a", 4), ("b", 4)), tmp_path), net(("a", 4)))


def test_keras_21404_a_mismatch_can_be_skipped_also_when_layers_are_missing(tmp_path):
    source, target = net(("a", 4), ("b", 5), ("c", 3)), net(("a", 4), ("b", 6))
    receipt = transfer_weights(plain(source, tmp_path), target, allow_missing="^b/", allow_unused="^c/")
    assert receipt.counts == {"loaded": 2, "renamed": 0, "adapted": 0, "random": 2, "unused": 4}


def test_keras_12502_3879_8462_another_number_of_classes(tmp_path):
    source, target = net(("a", 4), ("head", 10)), net(("a", 4), ("head", 3))
    path = plain(source, tmp_path)
    with pytest.raises(ValueError, match=r"2 do not fit: head/kernel \(float32 \(4, 10\) in the source"):
        transfer_weights(path, target)
    assert transfer_weights(path, target, allow_missing="^head/").counts["loaded"] == 2


def test_keras_14206_5509_2341_image_segmentation_keras_38_a_file_of_n_layers_and_a_model_of_m_are_explained(
    tmp_path,
):
    with pytest.raises(ValueError) as raised:
        transfer_weights(plain(net(("a", 4), ("b", 4), ("c", 4)), tmp_path), net(("a", 4), ("d", 4)))
    for part in ("d/kernel, d/bias", "b/0, b/1, c/0, c/1", "allow_missing=", "allow_unused=", "mapping="):
        assert part in str(raised.value)


def test_keras_efficientnet_v2_2_dannce_129_numbers_that_keras_makes_up_do_not_matter(tmp_path):
    def build():
        inputs = keras.Input((8, 8, 3))
        x = inputs
        for filters in (4, 4, 4):
            x = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same")(x))
        return keras.Model(inputs, x)

    source, target = build(), build()
    assert list(variable_paths(source)) != list(variable_paths(target))
    receipt = transfer_weights(plain(source, tmp_path), target)
    assert receipt.counts["renamed"] == 18 and equal(source, target)


def test_keras_12520_9739_grey_pictures_with_weights_for_colour(tmp_path):
    colour, grey = (
        keras.Sequential([keras.Input((8, 8, c)), layers.Conv2D(4, 3, name="stem")]) for c in (3, 1)
    )
    receipt = transfer_weights(plain(colour, tmp_path), grey)
    assert receipt.of("adapted")[0].note == "3 input channels summed to 1"
    x = np.random.default_rng(0).uniform(size=(1, 8, 8, 1)).astype("float32")
    outputs = [keras.ops.convert_to_numpy(m(v)) for m, v in ((grey, x), (colour, np.repeat(x, 3, -1)))]
    np.testing.assert_allclose(*outputs, atol=1e-5)


def test_lightly_1475_solo_learn_123_the_backbone_is_taken_out_of_the_checkpoint_of_its_pretraining(tmp_path):
    class Pretraining(keras.Model):
        def __init__(self, backbone):
            super().__init__()
            self.backbone, self.projector = backbone, layers.Dense(2, name="projector")

        def call(self, x):
            return self.projector(self.backbone(x))

    backbone = net(("a", 4), 3)
    objective = Pretraining(backbone)
    objective(np.ones((1, 8)))
    objective.compile("adam", "mse")
    objective.fit(np.ones((8, 8)), np.ones((8, 2)), verbose=0)
    fresh = net(("a", 4), 3)
    receipt = transfer_weights(plain(objective, tmp_path), fresh, allow_unused="^projector/")
    assert receipt.verify().counts["unused"] == 2 and equal(backbone, fresh)


def test_keras_16668_11022_a_clone_gets_the_weights_too():
    model = net(("a", 4), 3)
    clone = keras.models.clone_model(model)
    assert not equal(model, clone)
    transfer_weights(model, clone).verify().assert_loaded()
    assert equal(model, clone)


def test_keras_19208_lora_is_not_merged_behind_ones_back(tmp_path):
    model = net(("a", 4))
    model.layers[0].enable_lora(2)
    with pytest.raises(ValueError, match="must be merged"):
        save_backbone(model, tmp_path / "m.weights.h5")


def test_frozen_layers_change_nothing(tmp_path):
    source = keras.Sequential([keras.Input((8,)), net(("b1", 8), ("b2", 8))])
    source.layers[0].layers[0].trainable = False
    path = save_backbone(source, tmp_path / "m.weights.h5")
    target = keras.models.clone_model(source)
    target.layers[0].layers[0].trainable = True
    transfer_weights(path, target).verify()
    assert equal(source, target)
    loaded = load_backbone(path)
    assert equal(source, loaded) and not loaded.layers[0].layers[0].trainable


def test_skipping_a_layer_of_a_compiled_file_does_not_mix_in_the_optimizer(tmp_path):
    model = net(("a", 8), ("b", 8))
    model.compile("adam", "mse")
    model.fit(np.ones((8, 8)), np.ones((8, 8)), verbose=0)
    other = net(("a", 8), ("b", 8))
    assert transfer_weights(plain(model, tmp_path), other).counts["unused"] == 0
    assert equal(model, other)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute")
def test_files_are_loaded_into_models_on_several_replicas(tmp_path):
    model = keras.Sequential(
        [keras.Input((8,)), layers.Dense(4, name="a"), layers.BatchNormalization(name="n")]
    )
    path = save_backbone(model, tmp_path / "m.weights.h5")
    with placement.strategy("mirrored").scope():
        loaded, receipt = load_backbone(path, return_receipt=True)
        other = keras.models.clone_model(model)
    assert receipt.verify() and transfer_weights(path, other).verify()
    assert equal(model, loaded) and equal(model, other)
    assert loaded.get_layer("n").synchronized
    again = load_backbone(save_backbone(loaded, tmp_path / "again.weights.h5"))
    assert equal(model, again) and not again.get_layer("n").synchronized


def test_a_subclassed_backbone_in_memory_as_those_of_keras_hub():
    class Hub(keras.Model):
        def __init__(self):
            inputs = keras.Input((None,), dtype="int32", name="token_ids")
            x = layers.Embedding(9, 4, name="token_embedding")(inputs)
            x = layers.Dense(4, name="mix")(x)
            super().__init__(inputs=inputs, outputs=x, name="hub_backbone")

    source = Hub()
    task = keras.Sequential([keras.Input((None,), dtype="int32"), Hub(), layers.Dense(2, name="head")])
    receipt = transfer_weights(source, task, allow_missing="^head/")
    assert receipt.verify().counts["renamed"] == 3 and equal(source, task.layers[0])


VIT = {"patch_size": (8, 8), "num_layers": 1, "num_heads": 2, "hidden_dim": 8, "mlp_dim": 16}
BERT = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16}


def test_backbones_of_keras_hub_for_pictures(tmp_path):
    models = pytest.importorskip("keras_hub").models
    small, large, other = (models.ViTBackbone(image_shape=(s, s, 3), **VIT) for s in (32, 64, 32))
    receipt = transfer_weights(small, large).verify().assert_loaded()
    assert [line.note for line in receipt.of("adapted")] == ["positions 4×4 → 8×8, bicubic"]
    assert transfer_weights(plain(small, tmp_path), other).verify().percent_loaded == 100
    assert equal(small, other)
    loaded = load_backbone(save_backbone(small, tmp_path / "ours.weights.h5"))
    assert type(loaded) is type(small) and equal(small, loaded)


def test_backbones_of_keras_hub_for_texts():
    models = pytest.importorskip("keras_hub").models
    old, new = (
        models.BertBackbone(vocabulary_size=v, max_sequence_length=n, **BERT) for v, n in ((11, 16), (13, 40))
    )
    tokens = [f"token {i}" for i in range(11)]
    adapt = [positions(), token_embeddings(tokens, ["new", *tokens, "newer"])]
    receipt = transfer_weights(old, new, adapt=adapt).verify().assert_loaded()
    assert {line.path: line.note for line in receipt.of("adapted")} == {
        "token_embedding/embeddings": "11 of 13 tokens kept",
        "position_embedding/embeddings": "16 positions repeated to 40",
    }
