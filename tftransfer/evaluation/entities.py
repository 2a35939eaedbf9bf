"""How good a tagger is: whole entities, counted as the script of the CoNLL shared tasks counts them."""

import html
import itertools

import numpy as np

from tftransfer.evaluation import figures
from tftransfer.evaluation.saving import Result
from tftransfer.evaluation.tables import html_table, text_table

__all__ = ["EntityReport", "entities", "invalid_tags"]

_PREFIXES = "BIES"
_SCORES = ("precision", "recall", "f1")


def entities(tags):
    """The entities that a row of tags names: a list of `(type, first, behind)`, places of words.

    Read as `conlleval` and seqeval read it, in any of the schemes BIO (IOB2), IOB1 and BIOES: an entity begins at `B`
    or `S`, or at a tag of another type than the one before, or at any tag behind `O`, `E` or `S`. So an `I-x` that
    continues nothing begins an entity: what a model says is never thrown away for its form.

    Reference: Tjong Kim Sang & De Meulder, Introduction to the CoNLL-2003 Shared Task, 2003,
    https://aclanthology.org/W03-0419

    Args:
        tags: list of texts, one a word: `"O"`, or a prefix and a type as in `"B-person"`.

    Raises:
        ValueError: for a tag of another form.

    Example:

    >>> entities(["B-person", "I-person", "O", "I-place", "B-place"])
    [('person', 0, 2), ('place', 3, 4), ('place', 4, 5)]
    """
    found, before, kind, first = [], "O", None, None
    for place, tag in enumerate([*tags, "O"]):
        prefix, its = _parted(tag, place)
        goes_on = prefix in "IE" and before in "BI" and its == kind
        if before != "O" and not goes_on:
            found.append((kind, first, place))
        if prefix != "O" and not goes_on:
            first = place
        before, kind = prefix, its
    return found


def invalid_tags(tags):
    """Places of tags that continue nothing: an `I` (or `E`) behind `O`, another type, or the end of an entity.

    Args:
        tags: list of texts, as for `entities`.

    Example:

    >>> invalid_tags(["I-person", "I-person", "B-place", "I-person"])
    [0, 3]
    """
    parted = [("O", None), *(_parted(tag, place) for place, tag in enumerate(tags))]
    return [
        place
        for place, ((before, kind), (prefix, its)) in enumerate(itertools.pairwise(parted))
        if prefix in "IE" and not (before in "BI" and kind == its)
    ]


class EntityReport(Result):
    """Precision, recall and F1 of whole entities. Made by `evaluate` for a `Tagger`, or from your own tags.

    An entity counts as found where type, first and last word are all right, and nothing for a part of it. `precision`,
    `recall` and `f1` are over all entities together (micro), as published; `f1_macro` is the plain mean over the types.
    Nothing found, or nothing to be found, gives 0. `accuracy` is the share of words whose tag is right, and
    `invalid` the share of predicted tags that continue nothing.

    Reference: the script conlleval of Tjong Kim Sang & De Meulder, 2003, https://aclanthology.org/W03-0419

    Args:
        labels: list of lists of tags, one a word: `"O"`, `"B-person"`, `"I-person"`, …
        predictions: the same, of the same lengths.
        note: a sentence printed under the title.

    Attributes:
        metrics: dict of name → float.
        per_type: one dict a type: type, precision, recall, f1, entities.

    Raises:
        ValueError: for sentences or tags of another number, no sentence at all, or tags of another form.

    Example:
        >>> report = EntityReport([["B-x", "I-x", "O"]], [["B-x", "O", "O"]])
        >>> report.metrics["f1"], round(report.metrics["accuracy"], 3)
        (0.0, 0.667)
    """

    def __init__(self, labels, predictions, *, note=""):
        labels, predictions = (
            [list(map(str, row)) for row in labels],
            [list(map(str, r)) for r in predictions],
        )
        _check(labels, predictions)
        self.labels, self.predictions, self.note = labels, predictions, note
        true = {(i, *entity) for i, row in enumerate(labels) for entity in entities(row)}
        said = {(i, *entity) for i, row in enumerate(predictions) for entity in entities(row)}
        kinds = sorted({kind for _, kind, *_ in true | said})
        self.per_type = []
        for kind in kinds:
            held = [{e for e in part if e[1] == kind} for part in (true, said)]
            self.per_type.append({"type": kind, **_scores(*held), "entities": len(held[0])})
        words = sum(map(len, labels))
        right = sum(
            a == b for x, y in zip(labels, predictions, strict=True) for a, b in zip(x, y, strict=True)
        )
        self.metrics = {"n": float(len(labels)), **_scores(true, said)}
        self.metrics["f1_macro"] = float(np.mean([row["f1"] for row in self.per_type] or [0.0]))
        self.metrics["accuracy"] = right / max(words, 1)
        self.metrics["invalid"] = sum(len(invalid_tags(row)) for row in predictions) / max(words, 1)
        self.metrics["entities"] = float(len(true))

    def to_dict(self):
        """Everything but the single tags, as nested dicts and lists."""
        return {"kind": "entities", "note": self.note, "metrics": self.metrics, "per_type": self.per_type}

    _header = ("type", "precision", "recall", "F1", "entities")

    def _tables(self):
        m = self.metrics
        title = f"{len(self.labels)} texts, {int(m['entities'])} entities of {len(self.per_type)} types"
        names = {
            "f1": "F1",
            "f1_macro": "F1, mean of types",
            "accuracy": "tags right",
            "invalid": "invalid tags",
        }
        order = (*_SCORES, "f1_macro", "accuracy", "invalid")
        overall = [[names.get(name, name), f"{m[name]:.4f}"] for name in order]
        rows = [[r["type"], *(f"{r[s]:.4f}" for s in _SCORES), str(r["entities"])] for r in self.per_type]
        return title, overall, rows

    def __str__(self):
        title, overall, rows = self._tables()
        parts = [f"{title}\n{self.note}" if self.note else title]
        parts += [text_table(overall[0], overall[1:], rule=False, limit=30), text_table(self._header, rows)]
        return "\n\n".join(parts)

    def __repr__(self):
        return f"<EntityReport: F1 {self.metrics['f1']:.4f} on {int(self.metrics['entities'])} entities>"

    def _repr_html_(self):
        title, overall, rows = self._tables()
        parts = [f"<b>{html.escape(title)}</b>", f"<div>{html.escape(self.note)}</div>" if self.note else ""]
        parts += [html_table(["figure", "value"], overall), html_table(self._header, rows)]
        return "\n".join(part for part in parts if part)

    def _draw(self, figure):
        names = [row["type"] for row in self.per_type]
        figures.draw_scores(figure.subplots(), [row["f1"] for row in self.per_type], names)
        figure.suptitle(f"entity F1 {self.metrics['f1']:.3f} on {len(self.labels)} texts")


def _parted(tag, place):
    """Prefix and type of a tag; a prefix alone has the type ""."""
    prefix, _, kind = str(tag).partition("-")
    if prefix == "O" and not kind:
        return "O", None
    if prefix not in [*_PREFIXES]:
        raise ValueError(
            f"A tag is 'O', or one of {', '.join(_PREFIXES)} with a type, as in 'B-person'; received {tag!r} at place "
            f"{place}."
        )
    return prefix, kind


def _scores(true, said):
    found = len(true & said)
    precision, recall = found / max(len(said), 1), found / max(len(true), 1)
    return {"precision": precision, "recall": recall, "f1": 2 * found / max(len(true) + len(said), 1)}


def _check(labels, predictions):
    if len(labels) != len(predictions) or not labels:
        raise ValueError(
            f"labels and predictions hold one row of tags a text; received {len(labels)} and {len(predictions)} rows."
        )
    for i, (a, b) in enumerate(zip(labels, predictions, strict=True)):
        if len(a) != len(b):
            raise ValueError(
                f"labels and predictions have one tag a word; text {i} has {len(a)} labels and {len(b)} predictions."
            )
