"""Did pretraining help? The figures of both arms over the draws, the paired gain, a verdict in words."""

import html
import textwrap
from typing import NamedTuple

import numpy as np

from tftransfer.evaluation import figures
from tftransfer.evaluation.intervals import mean_interval, paired_interval
from tftransfer.evaluation.saving import Result
from tftransfer.evaluation.tables import html_table, text_table

ARMS = ("pretrained", "scratch")


class Row(NamedTuple):
    """One arm at one label budget: a figure per draw, in an order that is the same for both arms."""

    labels_per_class: int
    arm: str  # "pretrained" or "scratch"
    accuracy: list
    f1_macro: list
    seconds: list  # of the final fits, the search for a learning rate not counted
    steps: int  # optimizer steps of one fit
    learning_rate: float | None = None  # chosen from several; None where the policy's own stood


class Comparison(Result):
    """Pretrained against the fair scratch control, over draws of the labels. Made by `compare`.

    Each draw of labelled examples serves both arms, so the gain is paired: its 95% interval is the paired t
    test's. It speaks about other draws of the labels; one pretraining run and one test set stay fixed.

    Args:
        rows: A `Row` for each label budget and arm.
        details: What else to keep in the JSON: seeds, versions, numbers of examples, rates tried.

    Attributes:
        rows: The rows.
        details: The details.
        verdict: Whether pretraining helped, hurt, or made no convincing difference, and by how much.

    Raises:
        ValueError: No rows, an arm missing, or numbers of draws that differ.

    Example:
        >>> comparison = Comparison([
        ...     Row(5, "pretrained", [0.93, 0.91, 0.94], [0.93, 0.91, 0.94], [2.0, 2.1, 2.0], 120),
        ...     Row(5, "scratch", [0.82, 0.80, 0.82], [0.81, 0.79, 0.82], [2.2, 2.2, 2.1], 120, 1e-3),
        ... ])
        >>> print(comparison.verdict)
        At 5 labels per class pretraining helped: +11.3 points of accuracy (95% interval +9.9 to +12.8).
    """

    _figure_size = (9.5, 4.4)

    def __init__(self, rows, *, details=None):
        self.rows, self.details = [Row(*row) for row in rows], dict(details or {})
        if not self.rows:
            raise ValueError(
                "a comparison needs rows, two for each number of labels per class; received none."
            )
        for budget in self.budgets:
            arms = {row.arm: row for row in self.rows if row.labels_per_class == budget}
            if set(arms) != set(ARMS):
                raise ValueError(
                    f"a comparison needs the arms {ARMS} at each budget; received {tuple(arms)} at {budget}."
                )
            lengths = {
                len(values) for row in arms.values() for values in (row.accuracy, row.f1_macro, row.seconds)
            }
            if len(lengths) != 1:
                raise ValueError(
                    f"each figure needs one value per draw; received {sorted(lengths)} at {budget} labels."
                )

    @property
    def budgets(self):
        """The numbers of labels per class that were compared, in the order given."""
        return list(dict.fromkeys(row.labels_per_class for row in self.rows))

    def row(self, labels_per_class, arm):
        """The `Row` of one arm at one budget.

        Args:
            labels_per_class: The budget.
            arm: "pretrained" or "scratch".

        Raises:
            ValueError: Neither was compared.
        """
        for row in self.rows:
            if (row.labels_per_class, row.arm) == (labels_per_class, arm):
                return row
        raise ValueError(
            f"compared were {self.budgets} labels per class in the arms {ARMS}; asked for "
            f"{labels_per_class!r} in {arm!r}."
        )

    def gain(self, labels_per_class, metric="accuracy"):
        """Paired difference pretrained - scratch with its 95% interval.

        Args:
            labels_per_class: The budget.
            metric: "accuracy" or "f1_macro".

        Returns:
            An `Interval`.

        Raises:
            ValueError: The budget was not compared, or the metric is another.
        """
        if metric not in ("accuracy", "f1_macro"):
            raise ValueError(f'metric must be "accuracy" or "f1_macro"; received {metric!r}.')
        pretrained, scratch = (getattr(self.row(labels_per_class, arm), metric) for arm in ARMS)
        return paired_interval(pretrained, scratch)

    @property
    def verdict(self):
        return "\n".join(self._judge(budget) for budget in self.budgets)

    def _judge(self, budget):
        gain = self.gain(budget)
        at = f"At {budget} label{'s' * (budget != 1)} per class"
        points = f"{100 * gain.mean:+.1f} points of accuracy"
        if gain.n == 1:
            return f"{at} one draw gave {points}: a single draw says little. Compare with draws=5 or more."
        interval = f"(95% interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
        if gain.low > 0:
            return f"{at} pretraining helped: {points} {interval}."
        if gain.high < 0:
            cure = "Train from scratch, or pretrain longer or on closer data."
            return f"{at} pretraining hurt: {points} {interval}. {cure}"
        return f"{at} no convincing gain from pretraining: {points} {interval}, which includes zero."

    def to_dict(self):
        """Every figure of every draw, intervals, verdict and details, as nested dicts and lists."""
        metrics = ("accuracy", "f1_macro")
        return {
            "verdict": self.verdict,
            "rows": [
                row._asdict() | {f"{m}_interval": mean_interval(getattr(row, m))._asdict() for m in metrics}
                for row in self.rows
            ],
            "gains": [
                {"labels_per_class": budget} | {m: self.gain(budget, m)._asdict() for m in metrics}
                for budget in self.budgets
            ],
            "details": self.details,
        }

    _header = ("labels per class", "arm", "accuracy", "macro-F1", "seconds", "steps", "learning rate")

    def _body(self):
        lines = []
        for budget in self.budgets:
            for arm in ARMS:
                row = self.row(budget, arm)
                rate = "policy's" if row.learning_rate is None else f"{row.learning_rate:g}"
                figures_of_arm = (f"{mean_interval(values):.3f}" for values in (row.accuracy, row.f1_macro))
                lines.append(
                    [f"{budget}", arm, *figures_of_arm, f"{np.mean(row.seconds):.1f}", f"{row.steps}", rate]
                )
            gains = (f"{self.gain(budget, metric):+.3f}" for metric in ("accuracy", "f1_macro"))
            lines += [[f"{budget}", "paired gain", *gains, "", "", ""], []]
        return lines[:-1]

    def _notes(self):
        draws = len(self.rows[0].accuracy)
        title = f"Pretrained against scratch: {draws} draw{'s' * (draws != 1)} of the labels"
        test = self.details.get("test_examples")
        title += f", {test} test examples" if test else ""
        return (
            title,
            "Mean ± half-width of the 95% t interval over the draws; seconds and steps per fit.",
            *self.details.get("notes", ()),
        )

    def __str__(self):
        title, *notes = self._notes()
        prose = "\n".join(textwrap.fill(line, 100) for line in (*notes, "", *self.verdict.splitlines()))
        return f"{title}\n\n{text_table(self._header, self._body(), left=2)}\n\n{prose}"

    def __repr__(self):
        return f"<Comparison at {self.budgets} labels per class: {self.verdict}>"

    def _repr_html_(self):
        title, *notes = self._notes()
        lines = "".join(f"<div>{html.escape(note)}</div>" for note in notes)
        verdict = "".join(f"<div><b>{html.escape(line)}</b></div>" for line in self.verdict.splitlines())
        return f"<b>{html.escape(title)}</b>{html_table(self._header, self._body(), left=2)}{lines}{verdict}"

    def _draw(self, figure):
        arms, gains = figure.subplots(1, 2, width_ratios=(1.5, 1))
        figures.draw_arms(arms, self)
        figures.draw_gains(gains, self)
        several = len(self.budgets) > 1
        title = "Pretrained against scratch" if several else textwrap.fill(self.verdict, 100)
        figure.suptitle(title, fontsize=11)
