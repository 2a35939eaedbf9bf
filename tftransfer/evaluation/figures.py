"""The drawings behind `plot()`: each draws into the axes it is given and touches no global state."""

import numpy as np

INK, PRETRAINED, SCRATCH, PALE = "#222222", "#1f63a3", "#d9822b", "#c9d6e6"
_MOST_NAMES = 25  # class names written along an axis
_MOST_NUMBERS = 15  # classes whose counts are written into the confusion matrix


def _verbatim(axes):
    """Class names are data: a dollar sign in one starts no formula."""
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)


def draw_confusion(axes, confusion, class_names):
    """Confusion matrix, shaded by the share of each true class, with counts where they fit.

    Args:
        axes: matplotlib axes.
        confusion: Counts, true class by predicted class, shape (classes, classes).
        class_names: Names of the classes.
    """
    from matplotlib.ticker import MaxNLocator

    share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    picture = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.figure.colorbar(picture, ax=axes, label="share of the true class", shrink=0.85)
    count = len(class_names)
    if count <= _MOST_NAMES:
        names = [name if len(name) <= 14 else name[:13] + "…" for name in class_names]
        steep = 0 if max(map(len, names)) <= 3 else 45 if count <= 12 else 90
        axes.set_xticks(
            range(count),
            names,
            rotation=steep,
            ha="right" if steep == 45 else "center",
            rotation_mode="anchor" if steep == 45 else "default",
        )
        axes.set_yticks(range(count), names)
        _verbatim(axes)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize=9 if count <= 12 else 7, length=0)
    if count <= _MOST_NUMBERS:
        for row, column in np.argwhere(confusion > 0):
            ink = "white" if share[row, column] > 0.55 else INK
            axes.text(
                column,
                row,
                str(confusion[row, column]),
                ha="center",
                va="center",
                color=ink,
                fontsize=9 if count <= 10 else 7,
            )
    axes.set(xlabel="predicted class", ylabel="true class", title="Confusion")
    axes.spines[:].set_visible(False)


def draw_reliability(axes, table, error):
    """Reliability diagram: accuracy per bin of confidence against the diagonal, and the gap between the two.

    Args:
        axes: matplotlib axes.
        table: A `Reliability`.
        error: Expected calibration error, written into the title.
    """
    full = table.count > 0
    left, width = table.edges[:-1][full], np.diff(table.edges)[full]
    accuracy, confidence = table.accuracy[full], table.confidence[full]
    axes.bar(left, accuracy, width, align="edge", color=PRETRAINED, edgecolor="white", label="accuracy")
    axes.bar(
        left,
        np.abs(confidence - accuracy),
        width,
        bottom=np.minimum(accuracy, confidence),
        align="edge",
        color="none",
        edgecolor=SCRATCH,
        hatch="////",
        linewidth=0.8,
        label="gap to the confidence",
    )
    axes.plot([0, 1], [0, 1], color=INK, linestyle="--", linewidth=1, label="perfectly calibrated")
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1.02),
        ylabel="accuracy in the bin",
        title=f"Calibration: expected error {error:.3f}",
    )
    axes.tick_params(labelbottom=False)
    axes.legend(fontsize=8, loc="upper left", framealpha=0.9, edgecolor="none")
    axes.spines[["top", "right"]].set_visible(False)


def draw_counts(axes, table):
    """How many predictions each bin of confidence holds: the strip under a reliability diagram.

    Args:
        axes: matplotlib axes.
        table: A `Reliability`.
    """
    axes.bar(
        table.edges[:-1],
        table.count / table.count.sum(),
        np.diff(table.edges),
        align="edge",
        color="#8a8a8a",
        edgecolor="white",
    )
    axes.set(xlim=(0, 1), xlabel="confidence", ylabel="share")
    axes.spines[["top", "right"]].set_visible(False)


def draw_scores(axes, scores, names):
    """Horizontal bars of one score per label, best on top; of many labels the 25 lowest.

    Args:
        axes: matplotlib axes.
        scores: One number in [0, 1] per label.
        names: Names of the labels.
    """
    order = np.argsort(scores, kind="stable")[:_MOST_NAMES]
    axes.barh(range(len(order)), [scores[i] for i in order], color=PRETRAINED)
    axes.set_yticks(range(len(order)), [names[i][:20] for i in order])
    _verbatim(axes)
    for row, index in enumerate(order):
        axes.text(
            min(scores[index] + 0.01, 0.9), row, f"{scores[index]:.2f}", va="center", fontsize=8, color=INK
        )
    title = "F1 per label" if len(order) == len(names) else f"F1 of the {_MOST_NAMES} weakest labels"
    axes.set(xlim=(0, 1), xlabel="F1", title=title)
    axes.spines[["top", "right"]].set_visible(False)


def draw_predictions(axes, labels, predictions, names):
    """Predicted against true numbers, one colour per target.

    Args:
        axes: matplotlib axes.
        labels: True numbers, shape (n, targets).
        predictions: Predicted numbers, shape (n, targets).
        names: Names of the targets.
    """
    low, high = min(labels.min(), predictions.min()), max(labels.max(), predictions.max())
    axes.plot([low, high], [low, high], color=INK, linestyle="--", linewidth=1)
    for column, name in enumerate(names):
        color = PRETRAINED if len(names) == 1 else None
        axes.scatter(
            labels[:, column], predictions[:, column], s=12, alpha=0.5, linewidths=0, label=name, color=color
        )
    if 1 < len(names) <= 10:
        axes.legend(fontsize=8, frameon=False)
    axes.set(xlabel="true", ylabel="predicted", title="Predictions")
    axes.spines[["top", "right"]].set_visible(False)


def draw_errors(axes, errors):
    """Histogram of `predicted - true` over all targets.

    Args:
        axes: matplotlib axes.
        errors: Differences, shape (n, targets).
    """
    axes.hist(errors.ravel(), bins=min(40, max(10, errors.size // 10)), color=PRETRAINED, edgecolor="white")
    axes.axvline(0, color=INK, linestyle="--", linewidth=1)
    axes.set(xlabel="predicted - true", ylabel="examples", title="Errors")
    axes.spines[["top", "right"]].set_visible(False)


def draw_arms(axes, comparison):
    """Accuracy of both arms at each label budget: every draw as a dot, mean and 95% interval beside them.

    Args:
        axes: matplotlib axes.
        comparison: A `Comparison`.
    """
    from tftransfer.evaluation.intervals import mean_interval

    budgets = comparison.budgets
    for arm, color, shift in (("pretrained", PRETRAINED, -0.14), ("scratch", SCRATCH, 0.14)):
        for place, budget in enumerate(budgets):
            values = np.asarray(comparison.row(budget, arm).accuracy)
            interval = mean_interval(values)
            reach = 0.0 if interval.n == 1 else interval.half_width
            axes.scatter(
                np.full(len(values), place + shift * 0.65),
                values,
                s=16,
                color=color,
                alpha=0.45,
                linewidths=0,
            )
            axes.errorbar(
                place + shift,
                interval.mean,
                reach,
                color=color,
                fmt="o",
                capsize=5,
                linewidth=2,
                label=arm if place == 0 else None,
            )
            axes.annotate(
                f"{interval.mean:.3f}",
                (place + shift, interval.mean),
                color=color,
                fontsize=9,
                va="center",
                textcoords="offset points",
                xytext=(-9 if shift < 0 else 9, 0),
                ha="right" if shift < 0 else "left",
            )
    axes.set_xticks(range(len(budgets)), [str(budget) for budget in budgets])
    axes.set(
        xlim=(-0.6, len(budgets) - 0.4),
        xlabel="labels per class",
        ylabel="test accuracy",
        title="Accuracy: draws, mean, 95% interval",
    )
    axes.legend(frameon=False, loc="best")
    axes.grid(axis="y", color="#e6e6e6")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def draw_gains(axes, comparison):
    """The paired gain at each label budget with its 95% interval, against the zero line.

    Args:
        axes: matplotlib axes.
        comparison: A `Comparison`.
    """
    budgets = comparison.budgets
    axes.axhline(0, color=INK, linestyle="--", linewidth=1)
    for place, budget in enumerate(budgets):
        pair = zip(*(comparison.row(budget, arm).accuracy for arm in ("pretrained", "scratch")), strict=True)
        single = [100 * (a - b) for a, b in pair]
        gain = comparison.gain(budget)
        reach = 0.0 if gain.n == 1 else 100 * gain.half_width
        color = PRETRAINED if gain.low > 0 else SCRATCH if gain.high < 0 else "#777777"
        axes.scatter(np.full(len(single), place + 0.1), single, s=16, color=color, alpha=0.45, linewidths=0)
        axes.errorbar(place, 100 * gain.mean, reach, color=color, fmt="o", capsize=5, linewidth=2)
        axes.annotate(
            f"{100 * gain.mean:+.1f}",
            (place, 100 * gain.mean),
            textcoords="offset points",
            xytext=(-9, 0),
            ha="right",
            va="center",
            fontsize=9,
            color=color,
        )
    axes.set_xticks(range(len(budgets)), [str(budget) for budget in budgets])
    axes.set(
        xlim=(-0.6, len(budgets) - 0.4),
        xlabel="labels per class",
        ylabel="points of accuracy",
        title="Gain of pretraining, paired",
    )
    axes.grid(axis="y", color="#e6e6e6")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
