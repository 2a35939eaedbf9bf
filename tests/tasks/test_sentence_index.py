"""Search by cosine."""

import numpy as np
import pytest

from tests.tasks.texts import counting, tiny
from tftransfer import backbones, weights
from tftransfer.tasks import Classifier, SentenceIndex

TEXTS = counting(12, 4)


def test_every_text_finds_itself_and_scores_are_cosines():
    index = SentenceIndex(tiny("bert"), TEXTS, batch_size=5)
    assert index.embeddings.shape == (12, 16)
    np.testing.assert_allclose(np.linalg.norm(index.embeddings, axis=1), 1, atol=1e-5)
    for i, found in enumerate(index.search(TEXTS, k=3)):
        assert (
            found[0].text == TEXTS[i] and found[0].place == i and found[0].score == pytest.approx(1, abs=1e-5)
        )
        scores = np.sort(index.embeddings @ index.embeddings[i])[::-1]
        np.testing.assert_allclose([f.score for f in found], scores[:3], atol=1e-5)
    assert len(index.search(["a"], k=99)[0]) == 12


def test_tasks_and_files_serve_as_backbones(tmp_path):
    backbone = tiny("bert")
    weights.save_backbone(backbone, tmp_path / "bert.weights.h5")
    first = SentenceIndex(backbone, TEXTS).embeddings
    for other in (Classifier(backbone, 2), tmp_path / "bert.weights.h5"):
        np.testing.assert_allclose(SentenceIndex(other, TEXTS).embeddings, first, atol=1e-6)


def test_an_empty_text_is_found_by_nothing_else():
    index = SentenceIndex(tiny("gpt"), ["", "a b"])
    assert np.isfinite(index.embeddings).all()


def test_bad_input():
    with pytest.raises(ValueError, match="received none"):
        SentenceIndex(tiny("bert"), [])
    with pytest.raises(ValueError, match="is none"):
        SentenceIndex(backbones.mlp((4,), units=(3,)), TEXTS)
