"""All pictures of an objective: those that there are, and no others."""

import numpy as np
import pytest

from tftransfer import backbones, data, objectives
from tftransfer.evaluation import gallery
from tftransfer.layers import TablePreprocessing

X = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 1)).astype("uint8")


def cnn():
    return backbones.cnn((8, 8, 1), filters=(4,))


def names(paths):
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    return {path.stem for path in paths}


@pytest.mark.parametrize(
    "make, expected",
    [
        (lambda: objectives.SimCLR(cnn()), {"views", "embeddings"}),
        (lambda: objectives.GAN(cnn(), latent_width=4), {"samples", "embeddings"}),
        (lambda: objectives.Autoencoder(cnn()), {"reconstructions", "embeddings"}),
        (lambda: objectives.SimMIM(cnn()), {"reconstructions", "embeddings"}),  # masked, and filled in
        (lambda: objectives.RotationPrediction(cnn()), {"embeddings"}),
    ],
    ids=["SimCLR", "GAN", "Autoencoder", "SimMIM", "RotationPrediction"],
)
def test_what_there_is(make, expected, tmp_path):
    assert names(gallery(make(), X, tmp_path / "new" / "folder")) == expected


def test_history_and_classes(tmp_path):
    examples = data.Examples(X, np.arange(24) % 3, class_names="abc")
    paths = gallery(objectives.Autoencoder(cnn()), examples, tmp_path, history={"loss": [2.0, 1.0]})
    assert names(paths) == {"reconstructions", "embeddings", "history"}


def test_values_are_no_classes_and_a_table_is_mapped(tmp_path):
    table = {"age": np.arange(24.0), "job": ["cook", "clerk"] * 12}
    preprocessing = TablePreprocessing().adapt(table)
    objective = objectives.SCARF(backbones.mlp(preprocessing, units=(4,)))
    rows = preprocessing.encode(table)
    assert names(gallery(objective, (rows, np.linspace(0, 1, 24)), tmp_path)) == {"embeddings"}


def test_a_stream_of_examples(tmp_path):
    tf = pytest.importorskip("tensorflow")
    dataset = tf.data.Dataset.from_tensor_slices((X, np.arange(24) % 2))
    assert "views" in names(gallery(objectives.SimCLR(cnn()), dataset, tmp_path))


def test_refuses_views_made_beforehand(tmp_path):
    with pytest.raises(ValueError, match="plain examples"):
        gallery(objectives.SimCLR(cnn()), {"view_1": X, "view_2": X}, tmp_path)
