"""Reports against scikit-learn and by hand: binary, multi-class, multi-label; text, HTML, JSON."""

import json

import numpy as np
import pytest
from sklearn import metrics as sk

from tftransfer.evaluation import Report


def random_case(classes=6, n=300, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, n)
    scores = random.normal(size=(n, classes)) + 1.5 * np.eye(classes)[labels]
    p = np.exp(scores)
    return labels, p / p.sum(1, keepdims=True)


@pytest.fixture(scope="module")
def report():
    labels, p = random_case()
    return Report(labels, p, class_names=["ant", "bee", "cow", "dog", "<elk>", "$fox$"])


def test_multi_class_agrees_with_scikit_learn(report):
    labels, p = random_case()
    predicted, m = p.argmax(1), report.metrics
    assert m["accuracy"] == pytest.approx(sk.accuracy_score(labels, predicted))
    assert m["top_5_accuracy"] == pytest.approx(sk.top_k_accuracy_score(labels, p, k=5))
    assert m["log_loss"] == pytest.approx(sk.log_loss(labels, p))
    for average in ("macro", "micro", "weighted"):
        assert m[f"precision_{average}"] == pytest.approx(
            sk.precision_score(labels, predicted, average=average)
        )
        assert m[f"recall_{average}"] == pytest.approx(sk.recall_score(labels, predicted, average=average))
        assert m[f"f1_{average}"] == pytest.approx(sk.f1_score(labels, predicted, average=average))
    np.testing.assert_array_equal(report.confusion, sk.confusion_matrix(labels, predicted))
    np.testing.assert_allclose(
        [row["f1"] for row in report.per_class], sk.f1_score(labels, predicted, average=None)
    )
    assert all(type(value) is float for value in m.values())


def test_one_hot_labels_give_the_same_report(report):
    labels, p = random_case()
    assert Report(np.eye(6)[labels], p).metrics == report.metrics
    assert Report(labels[:, None].astype("float32"), p).metrics == report.metrics


def test_binary_is_the_two_class_case():
    labels, p = random_case(classes=2)
    one, two = Report(labels, p[:, 1]), Report(labels, p)
    assert one.kind == "binary" and two.kind == "multi-class"
    for name, value in one.metrics.items():
        assert value == pytest.approx(two.metrics[name]), name
    np.testing.assert_array_equal(one.confusion, two.confusion)
    assert Report(np.eye(2)[labels], p[:, 1:]).metrics == one.metrics


def test_multi_label_agrees_with_scikit_learn():
    random = np.random.default_rng(3)
    labels = (random.random((200, 5)) < 0.3).astype(int)
    p = np.clip(0.3 * labels + 0.7 * random.random((200, 5)), 0, 1)
    report, predicted = Report(labels, p, multi_label=True), (p > 0.5).astype(int)
    m = report.metrics
    assert m["accuracy"] == pytest.approx(sk.accuracy_score(labels, predicted))
    assert m["label_accuracy"] == pytest.approx(1 - sk.hamming_loss(labels, predicted))
    assert m["f1_macro"] == pytest.approx(sk.f1_score(labels, predicted, average="macro"))
    assert m["f1_micro"] == pytest.approx(sk.f1_score(labels, predicted, average="micro"))
    columns = [sk.log_loss(labels[:, c], p[:, c]) for c in range(5)]
    assert m["log_loss"] == pytest.approx(np.mean(columns))
    np.testing.assert_array_equal(report.confusion, sk.multilabel_confusion_matrix(labels, predicted))
    assert "label accuracy" in str(report) and "multi-label" in str(report)


def test_classes_without_examples_and_predictions_do_not_enter_the_macro_mean():
    p = np.eye(4)[[0, 1, 1]]
    report = Report([0, 1, 0], p)
    assert report.metrics["f1_macro"] == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert [row["examples"] for row in report.per_class] == [2, 1, 0, 0]
    assert report.confusion.shape == (4, 4)


def test_ties_rank_as_argmax_does():
    report = Report([0, 1, 2, 3], np.full((4, 4), 0.25), top_k=(1, 2, 3, 4))
    assert report.metrics["accuracy"] == 0.25
    assert report.metrics["top_2_accuracy"] == 0.5
    assert report.metrics["top_3_accuracy"] == 0.75
    assert "top_4_accuracy" not in report.metrics and "top_1_accuracy" not in report.metrics


def test_certain_and_wrong_stays_finite():
    assert np.isfinite(Report([1, 0], [[1.0, 0.0], [1.0, 0.0]]).metrics["log_loss"])


def test_text_fits_a_terminal(report):
    text = str(report)
    assert max(map(len, text.splitlines())) <= 100
    for part in ("300 examples, 6 classes", "accuracy", "macro", "ant", "true \\ predicted"):
        assert part in text
    many = Report(*random_case(classes=60))
    assert "lowest F1" in str(many) and len(str(many).splitlines()) < 50
    long = Report(
        *random_case(classes=12, n=60), class_names=[f"a very long class name {i}" for i in range(12)]
    )
    assert max(map(len, str(long).splitlines())) <= 100


def test_html_escapes_names(report):
    page = report._repr_html_()
    assert "&lt;elk&gt;" in page and "<elk>" not in page and page.count("<table") == 3


def test_json_holds_every_figure(report):
    content = json.loads(report.to_json())
    assert content["metrics"] == report.metrics
    assert content["confusion"] == report.confusion.tolist()
    assert content["class_names"][4] == "<elk>"
    assert len(content["reliability"]["count"]) == 15
    assert None in content["reliability"]["accuracy"]  # empty bins


@pytest.mark.parametrize(
    "labels, p, given, says",
    [
        ([0, 1], [[0.5, 0.5]], {}, "one length"),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], {}, "labels from 0 to 2"),
        ([-1, 1], [0.5, 0.5], {}, "-1"),
        (None, [0.5], {}, "missing"),
        ([], [], {}, "n > 0"),
        ([0.5, 1], [0.5, 0.5], {}, "fractional"),
        ([0], [[3.0, -1.0]], {}, "Logits"),
        ([0], [[0.9, 0.9]], {}, "sum to 1"),
        ([0], [np.nan], {}, "NaN"),
        ([0], [[[0.5]]], {}, "shape"),
        ([[1, 1]], [[0.5, 0.5]], {}, "multi_label"),
        ([0, 1], [[0.5, 0.5]], {"multi_label": True}, "0 and 1"),
        ([0], [[0.5, 0.5]], {"class_names": ["one"]}, "class_names"),
    ],
)
def test_bad_input(labels, p, given, says):
    with pytest.raises(ValueError, match=says):
        Report(labels, p, **given)
