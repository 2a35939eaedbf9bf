"""The map of embeddings: every example a point, each class a colour, PCA as NumPy has it."""

import numpy as np
import pytest

from tftransfer.evaluation import embedding_figure

RANDOM = np.random.default_rng(0)
LABELS = np.arange(30) % 3
SPREAD = RANDOM.normal(size=(30, 5)) * [5, 3, 1, 0.5, 0.1]


def points(axes):
    return np.concatenate([part.get_offsets() for part in axes.collections])


def test_principal_components():
    (axes,) = embedding_figure(SPREAD).axes
    centred = SPREAD - SPREAD.mean(0)
    values, vectors = np.linalg.eigh(np.cov(centred.T))
    expected = centred @ vectors[:, :-3:-1]
    np.testing.assert_allclose(np.abs(points(axes)), np.abs(expected), atol=1e-6)
    assert axes.get_xlabel() == f"{values[-2:].sum() / values.sum():.0%} of the variance"


def test_classes_are_named_and_apart():
    figure = embedding_figure({"a": SPREAD, "b": SPREAD[:, :1]}, LABELS, ["cat", "$dog", "eel"])
    assert [axes.get_title() for axes in figure.axes] == ["a", "b"]
    for axes in figure.axes:
        assert [len(part.get_offsets()) for part in axes.collections] == [10, 10, 10]
        assert len({tuple(part.get_facecolor()[0]) for part in axes.collections}) == 3
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["cat", r"\$dog", "eel"]
    figure._repr_png_()  # a dollar sign starts no formula


def test_one_hot_labels_and_many_classes():
    (axes,) = embedding_figure(SPREAD, np.eye(3)[LABELS]).axes
    assert len(axes.collections) == 3
    figure = embedding_figure(SPREAD, np.arange(30))
    assert len(figure.axes[0].collections) == 30 and not figure.legends


def test_a_sample_of_many():
    (axes,) = embedding_figure(RANDOM.normal(size=(2100, 3)), np.arange(2100) % 4).axes
    assert len(points(axes)) == 2000


def test_tsne_keeps_groups_together():
    labels = np.repeat(np.arange(3), 20)
    groups = RANDOM.normal(size=(60, 6)) + 20 * np.eye(6)[labels]
    (axes,) = embedding_figure(groups, labels, method="tsne").axes
    middles = [part.get_offsets().mean(0) for part in axes.collections]
    for number, part in enumerate(axes.collections):
        distances = [np.linalg.norm(part.get_offsets() - middle, axis=1) for middle in middles]
        assert (np.argmin(distances, axis=0) == number).all()


def test_saves(tmp_path):
    embedding_figure(SPREAD, LABELS, path=tmp_path / "map.png")
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "arguments",
    [
        (SPREAD, LABELS[:9]),
        (SPREAD[0],),
        (SPREAD[:2],),
        (SPREAD * np.nan,),
        (SPREAD, LABELS, ["cat", "dog"]),
        ({},),
    ],
)
def test_clear_errors(arguments):
    with pytest.raises(ValueError, match=r"\."):
        embedding_figure(*arguments)


def test_another_method():
    with pytest.raises(ValueError, match="umap"):
        embedding_figure(SPREAD, method="umap")
