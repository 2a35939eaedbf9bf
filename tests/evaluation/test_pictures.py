"""Views and reconstructions: what is drawn is what the model does, and looking changes nothing."""

import keras
import numpy as np
import pytest

from tftransfer import backbones, data, layers, objectives
from tftransfer.evaluation import pictures, reconstructions_figure, samples_figure, views_figure

X = np.random.default_rng(0).random((12, 8, 8, 1)).astype("float32")


def vit():
    return backbones.vit((8, 8, 1), patch_size=2, width=16, depth=1, num_heads=2)


def grid(figure):
    """Row names, and the pictures as (rows, columns, height, width, 3)."""
    names = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    images = np.array([np.broadcast_to(axes.images[0].get_array(), (8, 8, 3)) for axes in figure.axes])
    return names, images.reshape(len(names), -1, 8, 8, 3)


def test_views_are_the_augmentation_s():
    names, images = grid(views_figure(lambda batch: 1 - batch, X, views=2, count=5))
    assert names == ["original", "view 1", "view 2"] and images.shape[1] == 5
    np.testing.assert_allclose(images[0, :, :, :, 0], X[:5, :, :, 0], rtol=1e-6)
    np.testing.assert_allclose(images[1], 1 - images[0], atol=1e-6)


def test_looking_at_views_changes_no_later_ones():
    view, twin = (layers.RandomView(seed=3) for _ in range(2))
    _, images = grid(views_figure(view, X, views=2))
    assert np.abs(images[1] - images[2]).max() > 0.01
    np.testing.assert_array_equal(view(X), twin(X))


def test_keras_layers_and_models_of_them_serve():
    model = keras.Sequential(
        [keras.layers.RandomFlip(seed=0), keras.layers.RandomTranslation(0.1, 0.1, seed=0)]
    )
    assert views_figure(model, (X, np.arange(12)), views=1).get_suptitle() == "Views by Sequential"


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_autoencoder_shows_what_it_saw_and_drew(noise):
    objective = objectives.Autoencoder(
        backbones.mlp((8, 8, 1), units=(8,)), noise=noise, noise_kind="masking"
    )
    names, images = grid(reconstructions_figure(objective, X))
    assert names == ["input", *(["corrupted"] if noise else []), "reconstruction"]
    seen = images[-2]
    assert np.all((np.abs(seen - images[0]) < 1e-6) | (seen == 0))
    assert ((seen == 0).mean() > 0.3) == bool(noise)
    drawn = objective.decoder_model(objective.backbone(seen[..., :1].astype("float32")))
    expected = np.clip(keras.ops.convert_to_numpy(drawn), 0, 1)[..., 0]
    np.testing.assert_allclose(images[-1][..., 0], expected, atol=1e-5)


@pytest.mark.parametrize("normalize", [False, True])
def test_masked_autoencoder_keeps_the_visible_and_hides_its_share(normalize):
    objective = objectives.MaskedAutoencoder(vit(), mask_ratio=0.75, normalize_targets=normalize)
    figure = reconstructions_figure(objective, X)
    _, (original, visible, filled) = grid(figure)
    hidden = np.all(np.isclose(visible, pictures._HIDDEN), axis=-1)
    assert hidden.mean() == 0.75
    np.testing.assert_allclose(filled[~hidden], original[~hidden], atol=1e-6)
    assert np.abs(filled[hidden] - original[hidden]).max() > 0.01
    assert ("original's" in figure.get_suptitle()) == normalize


def test_normalized_targets_come_back_as_pixels(monkeypatch):
    objective = objectives.MaskedAutoencoder(vit())

    def perfect(inputs, training):
        outputs = objectives.MaskedAutoencoder.call(objective, inputs, training)
        return {**outputs, "prediction": outputs["target"]}

    monkeypatch.setattr(objective, "call", perfect)
    _, images = grid(reconstructions_figure(objective, X))
    np.testing.assert_allclose(images[2], images[0], atol=1e-4)


def test_simmim_keeps_the_visible_and_fills_its_squares():
    objective = objectives.SimMIM(backbones.cnn((8, 8, 1), filters=(4,)), mask_ratio=0.5, mask_size=2)
    names, (original, visible, filled) = grid(reconstructions_figure(objective, X))
    assert names == ["input", "visible", "filled in"]
    hidden = np.all(np.isclose(visible, pictures._HIDDEN), axis=-1)
    assert hidden.mean() == 0.5
    np.testing.assert_allclose(filled[~hidden], original[~hidden], atol=1e-6)
    assert np.abs(filled[hidden] - original[hidden]).max() > 0.01


@pytest.mark.parametrize("normalized", [True, False])
def test_squares_drawn_by_a_simmim_that_says_zero(normalized):
    backbone = backbones.cnn((8, 8, 1), filters=(4,))  # a place of its map is a patch of 2 pixels
    objective = objectives.SimMIM(backbone, mask_ratio=0.5, mask_size=2, normalize_targets=normalized)
    for variable in objective.head.trainable_variables:
        variable.assign(keras.ops.zeros(variable.shape))
    figure = reconstructions_figure(objective, X)
    assert ("are the original's" in figure.get_suptitle()) == normalized
    _, (original, visible, filled) = grid(figure)
    hidden = np.all(np.isclose(visible, pictures._HIDDEN), axis=-1)
    means = original.reshape(-1, 4, 2, 4, 2, original.shape[-1]).mean((2, 4), keepdims=True)
    expected = np.broadcast_to(means, (len(original), 4, 2, 4, 2, original.shape[-1])).reshape(original.shape)
    np.testing.assert_allclose(filled[hidden], expected[hidden] if normalized else 0, atol=1e-3)


def test_a_variational_autoencoder_and_a_bigan_draw_from_codes():
    cnn = backbones.cnn((8, 8, 1), filters=(4,))
    objective = objectives.VariationalAutoencoder(cnn, latent_width=4)
    names, images = grid(reconstructions_figure(objective, X))
    assert names == ["input", "reconstruction"]
    expected = keras.ops.convert_to_numpy(objective(X[:10], training=False)["location"])
    np.testing.assert_allclose(images[1][..., :1], expected, atol=1e-5)
    objective = objectives.BiGAN(cnn, latent_width=4)
    names, images = grid(reconstructions_figure(objective, X))
    assert names == ["input", "from its code"] and np.ptp(images[1]) > 0


def test_next_patches_are_said_from_the_true_ones_before_them(monkeypatch):
    causal = backbones.vit((8, 8, 1), patch_size=2, width=16, depth=1, num_heads=2, causal=True)
    objective = objectives.NextPatchPrediction(causal)

    def perfect(inputs, training):
        outputs = objectives.NextPatchPrediction.call(objective, inputs, training)
        following = keras.ops.roll(outputs["patches"], -1, axis=1)
        return {**outputs, "prediction": following}

    assert np.abs(np.diff(grid(reconstructions_figure(objective, X))[1], axis=0)).max() > 0.01
    monkeypatch.setattr(objective, "call", perfect)
    names, images = grid(reconstructions_figure(objective, X))
    assert names == ["input", "predicted"]
    np.testing.assert_allclose(images[1], images[0], atol=1e-4)


@pytest.mark.parametrize("cls", [objectives.VariationalAutoencoder, objectives.GAN, objectives.BiGAN])
def test_samples_are_the_objective_s_and_looking_changes_no_later_ones(cls):
    objective = cls(backbones.cnn((8, 8, 1), filters=(4,)), latent_width=4)
    first, second = (samples_figure(objective, count=7, columns=3) for _ in range(2))
    images, again = (np.array([axes.images[0].get_array() for axes in f.axes]) for f in (first, second))
    assert images.shape[0] == 9 and np.ptp(images[0] - images[1]) > 0
    np.testing.assert_array_equal(images, again)
    sampled = keras.ops.convert_to_numpy(objective.sample(7))
    np.testing.assert_allclose(images[:7, ..., :1], sampled, atol=1e-6)
    assert (images[7:] == 1).all()  # blank


def test_looking_at_reconstructions_changes_no_training():
    objective = objectives.MaskedAutoencoder(vit(), seed=4)
    variables = [keras.ops.convert_to_numpy(v) for v in objective.variables]
    reconstructions_figure(objective, X)
    for before, after in zip(variables, objective.variables, strict=True):
        np.testing.assert_array_equal(before, keras.ops.convert_to_numpy(after))


def test_bytes_colours_and_other_ranges():
    colours = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype("uint8")
    _, images = grid(views_figure(lambda batch: batch, data.Examples(colours), views=1))
    np.testing.assert_allclose(images[1], colours / 255, atol=1e-6)
    _, images = grid(views_figure(lambda batch: batch, X * 4 - 2, views=1))
    assert images.min() >= 0 and images.max() <= 1 and np.ptp(images) > 0.9
    _, images = grid(views_figure(lambda batch: batch, np.repeat(X, 2, axis=-1), views=1))
    np.testing.assert_allclose(images[0, ..., 0], X[:10, :, :, 0], atol=1e-6)


def test_saves(tmp_path):
    views_figure(layers.RandomView(), X, path=tmp_path / "views.png")
    assert (tmp_path / "views.png").read_bytes().startswith(b"\x89PNG")


def test_clear_errors():
    flat = objectives.Autoencoder(backbones.mlp((64,), units=(8,)))
    for call in (
        lambda: views_figure("flip", X),
        lambda: views_figure(layers.RandomView(), X[..., 0]),
        lambda: views_figure(layers.RandomView(), X[:0]),
        lambda: views_figure(layers.RandomView(), {"view_1": X, "view_2": X}),
        lambda: reconstructions_figure(objectives.SimCLR(vit()), X),
        lambda: reconstructions_figure(objectives.MaskedAutoencoder(vit()), X[:, :4]),
        lambda: reconstructions_figure(flat, X.reshape(12, 64)),
        lambda: samples_figure(objectives.MaskedAutoencoder(vit())),
        lambda: samples_figure(objectives.GAN(backbones.mlp((8,), units=(4,)))),
        lambda: samples_figure(objectives.GAN(backbones.cnn((8, 8, 1), filters=(4,))), count=0),
        lambda: reconstructions_figure(
            objectives.MaskedAutoencoder(backbones.table_transformer((4,), width=8, num_heads=2)), X
        ),
    ):
        with pytest.raises(ValueError, match=r"\."):
            call()
