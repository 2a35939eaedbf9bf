"""How good the tasks of texts are: entities, translations, and what a language model is surprised by."""

import html
import math

import numpy as np
from keras import ops

from tftransfer.evaluation import figures
from tftransfer.evaluation.entities import EntityReport
from tftransfer.evaluation.saving import Result
from tftransfer.evaluation.tables import html_table, text_table
from tftransfer.layers import text_ids, token_nats, tokenization_of
from tftransfer.tasks import Generator, Seq2Seq, Tagger

__all__ = ["TextReport", "bleu", "text_report"]


class TextReport(Result):
    """Figures of a task that writes texts. Made by `evaluate` for a `Seq2Seq` or a `Generator`.

    Of translations `bleu` and `chrf` (0 to 100, see `bleu`) and `exact`, the share that equals its reference. Of
    language models `perplexity`, `bits_per_byte` (of UTF-8, which compares over vocabularies) and `accuracy`, the share
    of tokens that were the likeliest.

    Args:
        metrics: dict of name → float.
        note: a sentence printed under the title, such as how BLEU was computed.
        examples: list of `(written, reference)`, of which the first are shown.

    Attributes:
        metrics, note, examples: the same.

    Example:
        >>> print(TextReport({"n": 2, "perplexity": 3.5}))
        2 texts
        <BLANKLINE>
        perplexity  3.5000
    """

    def __init__(self, metrics, *, note="", examples=()):
        self.metrics = {name: float(value) for name, value in metrics.items()}
        self.note, self.examples = note, [tuple(map(str, pair)) for pair in examples]

    def to_dict(self):
        """Figures, note and examples."""
        return {"kind": "texts", "note": self.note, "metrics": self.metrics, "examples": self.examples}

    def _tables(self):
        names = {"bleu": "BLEU", "chrf": "chrF", "bits_per_byte": "bits per byte"}
        rows = [[names.get(n, n), f"{v:.4f}"] for n, v in self.metrics.items() if n != "n"]
        return f"{int(self.metrics.get('n', 0))} texts", rows

    def __str__(self):
        title, rows = self._tables()
        parts = [f"{title}\n{self.note}" if self.note else title]
        parts.append(text_table(rows[0], rows[1:], rule=False, limit=30))
        parts += [f"written:   {a}\nreference: {b}" for a, b in self.examples[:3]]
        return "\n\n".join(parts)

    def __repr__(self):
        shown = ", ".join(f"{name} {value:.4f}" for name, value in self.metrics.items() if name != "n")
        return f"<TextReport: {shown}>"

    def _repr_html_(self):
        title, rows = self._tables()
        parts = [f"<b>{html.escape(title)}</b>", f"<div>{html.escape(self.note)}</div>" if self.note else ""]
        parts.append(html_table(["figure", "value"], rows))
        if self.examples:
            parts.append(html_table(["written", "reference"], self.examples[:5], left=2))
        return "\n".join(part for part in parts if part)

    def _draw(self, figure):
        shares = {n: v / 100 if n in ("bleu", "chrf") else v for n, v in self.metrics.items()}
        shares = {n: v for n, v in shares.items() if n in ("bleu", "chrf", "exact", "accuracy")}
        figures.draw_scores(figure.subplots(), list(shares.values()), list(shares))
        figure.suptitle(repr(self)[1:-1])


def bleu(written, references):
    """BLEU and chrF of texts against one reference each, by sacrebleu: `{"bleu", "chrf", "signature"}`, 0 to 100.

    Reference: Papineni et al., BLEU: a Method for Automatic Evaluation of Machine Translation, 2002,
    https://aclanthology.org/P02-1040; Post, A Call for Clarity in Reporting BLEU Scores, 2018,
    https://arxiv.org/abs/1804.08771 (sacrebleu)

    Args:
        written: list of texts.
        references: list of texts, of the same length.

    Raises:
        ImportError: when sacrebleu is not installed.
        ValueError: for lists of different lengths, or empty ones.

    Example:
        >>> bleu([], [])
        Traceback (most recent call last):
        ...
        ValueError: written and references hold one text each; received 0 and 0.
    """
    written, references = list(map(str, written)), list(map(str, references))
    if not written or len(written) != len(references):
        raise ValueError(
            f"written and references hold one text each; received {len(written)} and {len(references)}."
        )
    try:
        from sacrebleu.metrics import BLEU, CHRF
    except ImportError as error:
        raise ImportError(
            "BLEU is computed by the package sacrebleu, which is not installed: pip install sacrebleu"
        ) from error
    scores = {"bleu": BLEU(), "chrf": CHRF()}
    found = {name: float(metric.corpus_score(written, [references]).score) for name, metric in scores.items()}
    return found | {"signature": str(scores["bleu"].get_signature())}


def text_report(task, data, *, batch_size=64):
    """The report of a `Tagger`, `Seq2Seq` or `Generator` on labelled data; None for any other task.

    Args:
        task: the task.
        data: words and tags, texts and texts, or texts; or what the task's `encode` made of them.
        batch_size: examples a step.

    Raises:
        ValueError: for a `tf.data.Dataset`, or data without labels where the task needs them.
        ImportError: for a `Seq2Seq` without sacrebleu.
    """
    if not isinstance(task, (Tagger, Seq2Seq, Generator)):
        return None
    x, *rest = data if isinstance(data, tuple) else (data,)
    y = rest[0] if rest else None
    if hasattr(x, "element_spec") or (y is None and not isinstance(task, Generator)):
        raise ValueError(
            f"evaluate reads a {type(task).__name__} on a pair (x, y) of lists or arrays: texts, words or ids, and "
            f"what is right. Received {type(data).__name__}{'' if y is not None else ' without labels'}."
        )
    report = {Tagger: _entities, Seq2Seq: _translations, Generator: _surprise}
    return next(report[kind] for kind in report if isinstance(task, kind))(task, x, y, batch_size)


def _entities(task, x, y, batch_size):
    if not hasattr(x, "dtype"):  # words: all of them, of sentences of any length
        true = [[tag if isinstance(tag, str) else task.tags[tag] for tag in row] for row in y]
        unknown = {tag for row in true for tag in row} - set(task.tags)
        note = f"not among the task's tags: {', '.join(sorted(unknown)[:8])}" if unknown else ""
        return EntityReport(true, task.tag(x, batch_size=batch_size), note=note)
    ids, labels = np.asarray(x), np.asarray(y)
    logits = task.predict(ids, batch_size=batch_size, verbose=0)
    tags = np.array(task.tags, dtype=object)
    said = [tags[row[its >= 0].argmax(-1)] for row, its in zip(logits, labels, strict=True)]
    return EntityReport([tags[its[its >= 0]] for its in labels], said)


def _translations(task, x, y, batch_size):
    ids = x["source"] if isinstance(x, dict) else x
    if hasattr(y, "dtype") and y.dtype.kind in "iu":
        y = tokenization_of(task).decode(np.maximum(np.asarray(y), 0))
    written = task.generate(ids, batch_size=batch_size)
    scores = bleu(written, y)
    exact = np.mean([a == b for a, b in zip(written, map(str, y), strict=True)])
    note = f"BLEU {scores.pop('signature')}; the likeliest word each time"
    examples = list(zip(written, y, strict=True))[:5]
    return TextReport({"n": len(written), **scores, "exact": exact}, note=note, examples=examples)


def _surprise(task, x, y, batch_size):
    x, y = task.encode(x, y)
    x, y = np.asarray(x), np.asarray(y)
    nats = right = tokens = size = 0.0
    known = text_ids(task.backbone, where="evaluate").token_bytes
    for first in range(0, len(x), batch_size):
        labels = y[first : first + batch_size]
        logits = task(x[first : first + batch_size], training=False)
        nats += float(ops.sum(token_nats(logits, labels)))
        said = ops.convert_to_numpy(ops.argmax(logits, axis=-1))
        right, tokens = right + ((said == labels) & (labels >= 0)).sum(), tokens + (labels >= 0).sum()
        size += 0 if known is None else known[labels[labels >= 0]].sum()
    if not tokens:
        raise ValueError("there is nothing to predict: every text has one token at most.")
    metrics = {"n": len(x), "perplexity": math.exp(min(nats / tokens, 80)), "accuracy": right / tokens}
    if size:
        metrics["bits_per_byte"] = nats / math.log(2) / size
    return TextReport(metrics)
