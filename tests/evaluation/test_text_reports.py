"""Reports of tasks over texts."""

import json

import keras
import numpy as np
import pytest

import tftransfer as tt
from tests.tasks.texts import counting, tiny
from tftransfer.evaluation import TextReport, bleu
from tftransfer.tasks import Generator, Seq2Seq, Tagger


def test_a_language_models_figures():
    task, texts = Generator(tiny("gpt")), counting(10, 4)
    metrics = tt.evaluate(task, texts, batch_size=4, verbose=0).metrics
    ids, labels = map(np.asarray, task.encode(texts))
    z = np.asarray(task(ids), "float64")
    z = z - np.log(np.exp(z).sum(-1, keepdims=True))
    nats = [-z[i, j, y] for (i, j), y in np.ndenumerate(labels) if y >= 0]
    assert metrics["perplexity"] == pytest.approx(np.exp(np.mean(nats)), rel=1e-4)
    size = task.ids.token_bytes[labels[labels >= 0]].sum()
    assert metrics["bits_per_byte"] == pytest.approx(np.sum(nats) / np.log(2) / size, rel=1e-4)
    assert tt.evaluate(task, (ids, labels), verbose=0).metrics == pytest.approx(metrics)


def test_a_taggers_entities_in_sentences_of_any_length():
    task = Tagger(tiny("bert"), ["O", "B-x"])
    words, tags = (
        [["abc", "d"], ["e"] * 15],
        [["B-x", "O"], ["O"] * 14 + ["B-y"]],
    )  # 15 words, rows of 12 tokens
    report = tt.evaluate(task, (words, tags), verbose=0)
    said = [tag for row in task.tag(words) for tag in row]
    expected = np.mean([a == b for a, b in zip(said, [tag for row in tags for tag in row], strict=True)])
    assert report.metrics["accuracy"] == pytest.approx(expected) and report.metrics["entities"] == 2
    assert "B-y" in report.note
    numbers = tt.evaluate(task, ([["abc", "d"]], [[1, 0]]), verbose=0)
    encoded = tt.evaluate(task, task.encode([["abc", "d"]], [[1, 0]]), verbose=0)
    assert numbers.metrics == encoded.metrics and numbers.metrics["entities"] == 1


def test_bleu_of_the_same_and_of_other_texts():
    pytest.importorskip("sacrebleu")
    texts = ["the cat sat on the mat today", "a dog runs over the green field"]
    scores = bleu(texts, texts)
    assert scores["bleu"] == pytest.approx(100) and scores["chrf"] == pytest.approx(100)
    assert "nrefs:1" in scores["signature"]
    assert bleu(texts, texts[::-1])["bleu"] < 10


def test_translations(monkeypatch):
    pytest.importorskip("sacrebleu")
    task, texts = Seq2Seq(tiny("bert"), max_target_length=8), counting(4, 3)
    monkeypatch.setattr(task, "generate", lambda sources, **_: list(texts))
    report = tt.evaluate(task, (texts, texts), verbose=0)
    assert report.metrics["exact"] == 1 and "BLEU" in str(report)
    assert tt.evaluate(task, task.encode(texts, texts), verbose=0).metrics["exact"] == 1


def test_without_sacrebleu_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sacrebleu.metrics", None)
    with pytest.raises(ImportError, match="pip install sacrebleu"):
        bleu(["a"], ["a"])


def test_text_html_json_and_picture(tmp_path):
    report = TextReport({"n": 2, "bleu": 31.4, "exact": 0.5}, note="as published", examples=[("<a>", "b")])
    assert "BLEU" in str(report) and "reference: b" in str(report) and "&lt;a&gt;" in report._repr_html_()
    assert json.loads(report.to_json())["metrics"]["bleu"] == 31.4
    report.plot(tmp_path / "texts.png")
    assert (tmp_path / "texts.png").stat().st_size > 1000


def test_bad_input():
    with pytest.raises(ValueError, match="without labels"):
        tt.evaluate(Tagger(tiny("bert"), 2), [["a"]], verbose=0)
    with pytest.raises(ValueError, match="one text each"):
        bleu(["a"], ["a", "b"])
    with pytest.raises(ValueError, match="nothing to predict"):
        tt.evaluate(
            Generator(tiny("gpt")), keras.ops.convert_to_numpy(keras.ops.ones((2, 1), "int32")), verbose=0
        )
