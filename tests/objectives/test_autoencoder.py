"""The autoencoder's loss, its noise, and decoders for every kind of features."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.objectives.conftest import tiny_backbone
from tftransfer import backbones
from tftransfer.layers import reconstruction_error
from tftransfer.objectives import Autoencoder, VariationalAutoencoder

pytestmark = pytest.mark.compute


def test_error_equals_numpy():
    a, b = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    assert float(reconstruction_error(a, b)) == pytest.approx(np.mean((a - b) ** 2), rel=1e-5)


@pytest.mark.parametrize("kind", ["cnn", "vit", "mlp"])
@pytest.mark.parametrize("decoder", ["auto", "dense", "convolutional"])
def test_reconstructions_have_the_examples_shape(kind, decoder):
    outputs = Autoencoder(tiny_backbone(kind), decoder=decoder)(np.ones((2, 8, 8, 1), "float32"))
    assert tuple(outputs["reconstruction"].shape) == (2, 8, 8, 1)


@pytest.mark.parametrize("cls", [Autoencoder, VariationalAutoencoder])
@pytest.mark.parametrize(("pooling", "width"), [("mean", 8), ("max", 8), ("flatten", 32)])
def test_may_read_one_vector_an_example(cls, pooling, width):
    objective = cls(tiny_backbone("cnn"), pooling=pooling)
    first = objective.decoder_model if cls is Autoencoder else objective.posterior
    assert first.weights[0].shape[0] == width
    made = objective(np.ones((2, 8, 8, 1), "float32"))["reconstruction" if cls is Autoencoder else "location"]
    assert tuple(made.shape) == (2, 8, 8, 1)
    again = cls.from_config(objective.get_config())
    assert again.pooling == pooling


@pytest.mark.parametrize("shape", [(28, 28, 1), (30, 20, 3)])
def test_convolutional_decoder_reaches_odd_sizes(shape):
    outputs = Autoencoder(backbones.cnn(shape, filters=(4, 8)))(np.ones((1, *shape), "float32"))
    assert tuple(outputs["reconstruction"].shape) == (1, *shape)


def test_a_wide_linear_autoencoder_learns_to_copy():
    keras.utils.set_random_seed(0)
    backbone = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, name="features")])
    objective = Autoencoder(backbone)
    objective.compile(keras.optimizers.Adam(0.02))
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    assert objective.fit(x, batch_size=16, epochs=60, verbose=0).history["loss"][-1] < 1e-3


def test_noise_corrupts_the_input_and_not_the_target():
    x = np.full((64, 8, 8, 1), 0.5, "float32")
    objective = Autoencoder(tiny_backbone("cnn"), noise=0.25, noise_kind="masking", seed=3)
    corrupted = ops.convert_to_numpy(objective._corrupt(ops.convert_to_tensor(x)))
    assert set(np.unique(corrupted)) == {0.0, 0.5}
    assert (corrupted == 0).mean() == pytest.approx(0.25, abs=0.03)
    np.testing.assert_array_equal(ops.convert_to_numpy(objective(x)["target"]), x)
    gaussian = Autoencoder(tiny_backbone("cnn"), noise=0.1)._corrupt(ops.convert_to_tensor(x))
    assert ops.convert_to_numpy(gaussian).std() == pytest.approx(0.1, rel=0.1)


def test_takes_a_decoder_of_the_users():
    decoder = keras.Sequential(
        [
            keras.Input((2, 2, 8)),
            keras.layers.Flatten(),
            keras.layers.Dense(64),
            keras.layers.Reshape((8, 8, 1)),
        ]
    )
    assert Autoencoder(tiny_backbone("cnn"), decoder=decoder).decoder_model is decoder
    wrong = keras.Sequential([keras.Input((2, 2, 8)), keras.layers.Flatten()])
    with pytest.raises(ValueError, match="gives examples of shape"):
        Autoencoder(tiny_backbone("cnn"), decoder=wrong)
    with pytest.raises(ValueError, match="Cannot pool"):
        Autoencoder(tiny_backbone("cnn"), pooling="first")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise": -0.1}, "0 or more"),
        ({"noise": float("nan")}, "0 or more"),
        ({"noise": 1.0, "noise_kind": "masking"}, "below 1"),
        ({"noise_kind": "salt"}, "noise_kind"),
        ({"decoder": "lstm"}, "decoder is"),
    ],
)
def test_refuses_settings_that_cannot_work(settings, message):
    with pytest.raises(ValueError, match=message):
        Autoencoder(tiny_backbone("cnn"), **settings)


def test_a_backbone_that_reads_bytes_learns_in_the_units_of_one_that_does_not():
    x = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), dtype="uint8")
    layers = [keras.layers.Flatten(), keras.layers.Dense(3)]
    plain = Autoencoder(keras.Sequential([keras.Input((8, 8, 1)), *layers]), noise=0.2)
    bytes_ = Autoencoder(
        keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Rescaling(1 / 255), *layers]), noise=0.2
    )
    bytes_.decoder_model.set_weights(plain.decoder_model.get_weights())
    first, second = plain(x / np.float32(255)), bytes_(x)
    np.testing.assert_allclose(second["reconstruction"], 255 * np.asarray(first["reconstruction"]), atol=1e-2)
    loss = float(plain.compute_objective(first))
    assert float(bytes_.compute_objective(second)) == pytest.approx(loss, rel=1e-4)
    corrupted = ops.convert_to_numpy(bytes_._corrupt(ops.convert_to_tensor(np.zeros((64, 8, 8, 1), "uint8"))))
    assert corrupted.std() == pytest.approx(0.2 * 255, rel=0.1)
