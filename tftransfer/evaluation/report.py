"""How good a classifier is: figures, overall and per class, as text, in a notebook, drawn, and as JSON."""

import html

import numpy as np
from sklearn.metrics import confusion_matrix, multilabel_confusion_matrix, precision_recall_fscore_support

from tftransfer.evaluation import figures
from tftransfer.evaluation.calibration import expected_calibration_error, reliability
from tftransfer.evaluation.labels import class_indices, label_sets
from tftransfer.evaluation.saving import Result
from tftransfer.evaluation.tables import clip, html_table, text_table

_AVERAGES = ("macro", "micro", "weighted")
_SCORES = ("precision", "recall", "f1")
_MOST_CLASSES = 30  # in a printed table; the JSON always holds all
_MOST_CONFUSIONS = 12  # widest confusion matrix that fits a terminal


class Report(Result):
    """Every usual figure of a classifier's predictions. Made by `evaluate`, or from your own arrays.

    Binary (one probability per example), multi-class (a row of probabilities that sums to 1) and multi-label
    (an independent probability per label). Precision, recall and F1 are scikit-learn's: `macro` is the plain
    mean over the classes that occur among labels or predictions, `micro` pools all decisions, `weighted`
    weighs classes by their examples; a score without a denominator counts as 0. `log_loss` is the mean of
    `-log p(label)` in nats (for multi-label the mean over single decisions). A probability above 0.5 decides
    a binary or multi-label case. Multi-label `accuracy` asks for all labels of an example to be right,
    `label_accuracy` counts single decisions.

    Reference: Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural networks", 2017,
    https://arxiv.org/abs/1706.04599 (expected calibration error)

    Args:
        labels: True labels: integers (n,), one-hot rows (n, classes), or rows of 0 and 1 when multi-label.
        probabilities: Probability of class 1, shape (n,) or (n, 1); or of each class, shape (n, classes).
        class_names: Names in the order of the classes; None numbers them.
        multi_label: Whether each column is a yes/no decision of its own.
        top_k: Which top-k accuracies to report for multi-class; those with k not below the classes are left
            out.
        bins: Bins of the reliability diagram and of the calibration error.
        note: A sentence printed under the title, for example what was assumed about the outputs.

    Attributes:
        metrics: Dict of name → float.
        per_class: One dict per class: class, precision, recall, f1, examples.
        confusion: Counts, true class by predicted class (classes, classes); for multi-label (labels, 2, 2).
        reliability: The bins behind the calibration error.
        predictions: Predicted classes (n,), or rows of 0 and 1 when multi-label.

    Raises:
        ValueError: Lengths or widths that differ, labels out of range, values that are no probabilities.

    Example:
        >>> report = Report([0, 1, 1, 0], [0.1, 0.9, 0.4, 0.2], class_names=["cat", "dog"])
        >>> report.metrics["accuracy"], report.confusion.tolist()
        (0.75, [[2, 0], [1, 1]])
    """

    def __init__(
        self, labels, probabilities, *, class_names=None, multi_label=False, top_k=(1, 5), bins=15, note=""
    ):
        probabilities = _checked(probabilities)
        binary = probabilities.shape[1] == 1 and not multi_label
        if binary:
            probabilities = np.concatenate([1 - probabilities, probabilities], axis=1)  # (n, 2)
        elif not multi_label and np.abs(probabilities.sum(1) - 1).max() > 1e-3:
            raise ValueError(
                f"class probabilities must sum to 1; received sums up to {probabilities.sum(1).max():.3g}. "
                "Apply a softmax, or say multi_label=True when each column is a decision of its own."
            )
        classes = probabilities.shape[1]
        self.kind = "multi-label" if multi_label else "binary" if binary else "multi-class"
        self.labels = label_sets(labels, classes) if multi_label else class_indices(labels, classes)
        if len(self.labels) != len(probabilities):
            raise ValueError(
                "labels and predictions must be of one length; received "
                f"{len(self.labels)} and {len(probabilities)}."
            )
        self.class_names = _names(class_names, classes)
        self.probabilities, self.note = probabilities, note
        if multi_label or binary:
            decided = (probabilities > 0.5).astype("int64")
            self.predictions = decided if multi_label else decided[:, 1]
        else:
            self.predictions = probabilities.argmax(1)
        self._count(top_k, bins)

    def _count(self, top_k, bins):
        labels, predictions, p = self.labels, self.predictions, self.probabilities
        metrics = {"n": float(len(labels))}
        if self.kind == "multi-label":
            right = labels == predictions  # (n, labels)
            occurring = np.flatnonzero(labels.any(0) | predictions.any(0))
            of_label = np.where(labels == 1, p, 1 - p)
            confidence = np.maximum(p, 1 - p)
            metrics |= {"accuracy": right.all(1).mean(), "label_accuracy": right.mean()}
            self.confusion = multilabel_confusion_matrix(labels, predictions)
        else:
            right = labels == predictions  # (n,)
            occurring = np.union1d(labels, predictions)
            of_label = p[np.arange(len(labels)), labels]
            confidence = p[np.arange(len(labels)), predictions]
            earlier = (
                np.arange(p.shape[1]) < labels[:, None]
            )  # among equals the lower class ranks first, as in argmax
            rank = ((p > of_label[:, None]) | ((p == of_label[:, None]) & earlier)).sum(1)  # (n,)
            metrics["accuracy"] = right.mean()
            metrics |= {f"top_{k}_accuracy": (rank < k).mean() for k in top_k if 1 < k < p.shape[1]}
            self.confusion = confusion_matrix(labels, predictions, labels=np.arange(p.shape[1]))
        for average in _AVERAGES:
            given = {"labels": occurring} if occurring.size else {}
            scores = precision_recall_fscore_support(
                labels, predictions, average=average, zero_division=0, **given
            )
            metrics |= {f"{name}_{average}": score for name, score in zip(_SCORES, scores, strict=False)}
        metrics["log_loss"] = -np.log(np.maximum(of_label, np.finfo("float64").tiny)).mean()
        metrics["expected_calibration_error"] = expected_calibration_error(
            confidence.ravel(), right.ravel(), bins=bins
        )
        self.reliability = reliability(confidence.ravel(), right.ravel(), bins=bins)
        self.metrics = {name: float(value) for name, value in metrics.items()}
        scores = precision_recall_fscore_support(
            labels, predictions, labels=np.arange(p.shape[1]), average=None, zero_division=0
        )
        self.per_class = [
            {"class": name, "precision": float(a), "recall": float(b), "f1": float(c), "examples": int(d)}
            for name, a, b, c, d in zip(self.class_names, *scores, strict=True)
        ]

    def to_dict(self):
        """Everything but the single predictions, as nested dicts and lists."""
        return {
            "kind": self.kind,
            "note": self.note,
            "metrics": self.metrics,
            "per_class": self.per_class,
            "class_names": self.class_names,
            "confusion": self.confusion,
            "reliability": self.reliability._asdict(),
        }

    def _tables(self):
        """Title, overall figures, averages, classes: what text and HTML both show."""
        m = self.metrics
        averaged = [f"{score}_{average}" for average in _AVERAGES for score in _SCORES]
        overall = [[_title(name), f"{m[name]:.4f}"] for name in m if name != "n" and name not in averaged]
        rows = sorted(self.per_class, key=lambda row: row["f1"])[:_MOST_CLASSES]
        rows = rows if len(self.per_class) > _MOST_CLASSES else self.per_class
        averages = [[name, *(f"{m[f'{score}_{name}']:.4f}" for score in _SCORES), ""] for name in _AVERAGES]
        classes = [[r["class"], *(f"{r[score]:.4f}" for score in _SCORES), f"{r['examples']}"] for r in rows]
        what = "labels" if self.kind == "multi-label" else "classes"
        title = f"{len(self.labels)} examples, {len(self.class_names)} {what}"
        title += f" ({self.kind})" if self.kind != "multi-class" else ""
        if len(self.per_class) > _MOST_CLASSES:
            title += f"; the table shows the {_MOST_CLASSES} with the lowest F1"
        return title, overall, averages, classes

    def __str__(self):
        title, overall, averages, classes = self._tables()
        parts = [f"{title}\n{self.note}" if self.note else title]
        parts.append(text_table(overall[0], overall[1:], rule=False, limit=30))
        parts.append(
            text_table(["class", "precision", "recall", "F1", "examples"], [*classes, [], *averages])
        )
        if self._small_confusion:
            room = min(16, 84 // len(self.class_names) - 2)  # columns left of 100 by the row names
            head = ["true \\ predicted", *(clip(name, room) for name in self.class_names)]
            body = [
                [clip(n, 16), *map(str, row)] for n, row in zip(self.class_names, self.confusion, strict=True)
            ]
            parts.append(text_table(head, body))
        return "\n\n".join(parts)

    def __repr__(self):
        return f"<Report {self.kind}: accuracy {self.metrics['accuracy']:.4f} on {len(self.labels)} examples>"

    def _repr_html_(self):
        title, overall, averages, classes = self._tables()
        parts = [f"<b>{html.escape(title)}</b>", f"<div>{html.escape(self.note)}</div>" if self.note else ""]
        parts.append(html_table(["figure", "value"], overall))
        parts.append(html_table(["class", "precision", "recall", "F1", "examples"], [*classes, *averages]))
        if self._small_confusion:
            body = [
                [name, *map(str, row)] for name, row in zip(self.class_names, self.confusion, strict=True)
            ]
            shades = self.confusion / np.maximum(self.confusion.sum(1, keepdims=True), 1)
            parts.append(html_table(["true \\ predicted", *self.class_names], body, shades=shades))
        return "\n".join(part for part in parts if part)

    @property
    def _small_confusion(self):
        return self.confusion.ndim == 2 and len(self.class_names) <= _MOST_CONFUSIONS

    def _draw(self, figure):
        axes = figure.subplot_mosaic(
            [["decisions", "calibration"], ["decisions", "counts"]],
            width_ratios=(1.15, 1),
            height_ratios=(4, 1),
        )
        if self.kind == "multi-label":
            figures.draw_scores(axes["decisions"], [row["f1"] for row in self.per_class], self.class_names)
        else:
            figures.draw_confusion(axes["decisions"], self.confusion, self.class_names)
        figures.draw_reliability(
            axes["calibration"], self.reliability, self.metrics["expected_calibration_error"]
        )
        figures.draw_counts(axes["counts"], self.reliability)
        figure.suptitle(
            f"accuracy {self.metrics['accuracy']:.3f}, macro F1 {self.metrics['f1_macro']:.3f} "
            f"on {len(self.labels)} examples"
        )


def _title(name):
    return name.replace("top_", "top-").replace("_", " ")


def _names(class_names, classes):
    if class_names is None:
        return [str(index) for index in range(classes)]
    names = [str(name) for name in class_names]
    if len(names) != classes:
        raise ValueError(
            f"class_names must hold one name per class, {classes}; received {len(names)}: {names[:5]}."
        )
    return names


def _checked(probabilities):
    p = np.asarray(probabilities, dtype="float64")
    p = p[:, None] if p.ndim == 1 else p
    if p.ndim != 2 or p.size == 0:
        raise ValueError(
            f"probabilities must have shape (n,) or (n, classes) with n > 0; received {p.shape}."
        )
    if not np.isfinite(p).all():
        raise ValueError(
            f"probabilities hold NaN or infinity in {(~np.isfinite(p)).any(1).sum()} of {len(p)} rows."
        )
    if p.min() < -1e-6 or p.max() > 1 + 1e-6:
        raise ValueError(
            f"probabilities must lie in [0, 1]; received values from {p.min():.3g} to {p.max():.3g}. "
            "Logits need a softmax (or, binary and multi-label, a sigmoid) first."
        )
    return np.clip(p, 0, 1)
