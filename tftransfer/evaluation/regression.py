"""How good a regressor is: errors in the units of the labels, and the share of variance explained."""

import html

import numpy as np

from tftransfer.evaluation import figures
from tftransfer.evaluation.saving import Result
from tftransfer.evaluation.tables import html_table, text_table


class RegressionReport(Result):
    """Errors of predicted numbers. Made by `evaluate` for a `Regressor`, or from your own arrays.

    `mean_absolute_error` and `root_mean_squared_error` are in the units of the labels. `r2 = 1 - Σ (y - ŷ)² /
    Σ (y - ȳ)²`: 1 is perfect, 0 no better than the mean of these labels, below 0 worse; NaN when a target
    does not vary. With several targets each figure is the plain mean over them, and `per_target` holds the
    single ones.

    Args:
        labels: True numbers, shape (n,) or (n, targets).
        predictions: Predicted numbers, of the same shape.
        target_names: Names of the targets; None numbers them.

    Attributes:
        metrics: Dict of name → float.
        per_target: One dict per target: target, mean_absolute_error, root_mean_squared_error, r2.

    Raises:
        ValueError: Shapes that differ, nothing to compare, NaN or infinity.

    Example:
        >>> RegressionReport([1.0, 2.0, 3.0], [1.0, 2.0, 4.0]).metrics["r2"]
        0.5
    """

    _names = ("mean_absolute_error", "root_mean_squared_error", "r2")

    def __init__(self, labels, predictions, *, target_names=None):
        self.labels, self.predictions = _columns(labels, "labels"), _columns(predictions, "predictions")
        if self.labels.shape != self.predictions.shape:
            raise ValueError(
                "labels and predictions must have one shape, a row per example and a column per target; "
                f"received {self.labels.shape} and {self.predictions.shape}."
            )
        targets = self.labels.shape[1]
        names = (
            [str(i) for i in range(targets)] if target_names is None else [str(name) for name in target_names]
        )
        if len(names) != targets:
            raise ValueError(f"target_names must hold {targets} names, one per target; received {names}.")
        error = self.predictions - self.labels  # (n, targets)
        spread = ((self.labels - self.labels.mean(0)) ** 2).sum(0)
        r2 = 1 - (error**2).sum(0) / np.where(spread > 0, spread, np.nan)
        figures_per_target = zip(names, abs(error).mean(0), np.sqrt((error**2).mean(0)), r2, strict=True)
        self.per_target = [
            {"target": name} | dict(zip(self._names, map(float, values), strict=True))
            for name, *values in figures_per_target
        ]
        self.metrics = {"n": float(len(error))}
        self.metrics |= {name: float(np.mean([t[name] for t in self.per_target])) for name in self._names}

    def to_dict(self):
        """Everything but the single predictions, as nested dicts and lists."""
        return {"kind": "regression", "metrics": self.metrics, "per_target": self.per_target}

    def _tables(self):
        overall = [[name.replace("_", " "), f"{self.metrics[name]:.4g}"] for name in self._names]
        targets = [[t["target"], *(f"{t[name]:.4g}" for name in self._names)] for t in self.per_target]
        return (
            f"{len(self.labels)} examples, {len(targets)} target{'s'[: len(targets) > 1]}",
            overall,
            targets,
        )

    _header = ("target", "mean absolute", "root mean squared", "r2")

    def __str__(self):
        title, overall, targets = self._tables()
        parts = [title, text_table(overall[0], overall[1:], rule=False, limit=30)]
        return "\n\n".join([*parts, text_table(self._header, targets)] if len(targets) > 1 else parts)

    def __repr__(self):
        return f"<RegressionReport: r2 {self.metrics['r2']:.4f} on {len(self.labels)} examples>"

    def _repr_html_(self):
        title, overall, targets = self._tables()
        parts = [f"<b>{html.escape(title)}</b>", html_table(["figure", "value"], overall)]
        return "\n".join([*parts, html_table(self._header, targets)] if len(targets) > 1 else parts)

    def _draw(self, figure):
        left, right = figure.subplots(1, 2)
        figures.draw_predictions(left, self.labels, self.predictions, [t["target"] for t in self.per_target])
        figures.draw_errors(right, self.predictions - self.labels)
        figure.suptitle(f"r2 {self.metrics['r2']:.3f} on {len(self.labels)} examples")


def _columns(values, what):
    values = np.asarray(values, dtype="float64")
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"{what} must have shape (n,) or (n, targets) with n > 0; received {values.shape}.")
    if not np.isfinite(values).all():
        bad = (~np.isfinite(values)).any(1).sum()
        raise ValueError(
            f"{what} hold NaN or infinity in {bad} of {len(values)} rows; take those rows out or mend them."
        )
    return values
