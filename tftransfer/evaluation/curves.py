"""Learning curves of a run."""

import numpy as np

from tftransfer.evaluation.figures import INK, PRETRAINED, SCRATCH
from tftransfer.evaluation.saving import Drawing


def history_figure(history, *, path=None):
    """Learning curves: one panel for the losses, one for all figures between 0 and 1, one for any other.

    A validation figure is dashed, in the colour of its training figure. Of a `finetune` history the stages
    are told apart by vertical lines, and the epoch whose weights were kept is marked.

    Args:
        history: What `pretrain`, `finetune` or Keras's `fit` returned, or a dict of name → list of values.
        path: Where to save the figure as well, atomically; its ending names the format.

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        ValueError: There are no curves to draw.
        OSError: `path` cannot be written.

    Example:

    >>> figure = history_figure({"loss": [3.0, 2.0], "val_loss": [3.1, 2.5], "accuracy": [0.3, 0.6]})
    >>> [axes.get_title() for axes in figure.axes]
    ['loss', 'accuracy']
    """
    curves = history if isinstance(history, dict) else getattr(history, "history", None)
    curves = {name: np.asarray(values, "float64") for name, values in (curves or {}).items() if len(values)}
    if not curves:
        raise ValueError(f"there are no curves to draw in {history!r}; give what pretrain or fit returned.")
    panels = _panels(curves)

    def draw(figure):
        for axes, names in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            _draw_curves(axes, {name: curves[name] for name in names})
            _draw_stages(axes, history)
            if len(axes.get_legend_handles_labels()[1]) > 1:
                axes.legend(fontsize=8, frameon=False)

    return Drawing((min(13.0, 4.8 * len(panels)), 3.2), draw).plot(path)


def _panels(curves):
    """Names that share a panel: losses, shares in [0, 1], and each other figure with its validation."""
    panels = {}
    for name, values in curves.items():
        base = name.removeprefix("val_")
        finite = values[np.isfinite(values)]
        within = finite.size and finite.min() >= 0 and finite.max() <= 1 and "rate" not in base
        key = "loss" if base.endswith("loss") else "share" if within else base
        panels.setdefault(key, []).append(name)
    return sorted(panels.values(), key=lambda names: names != panels.get("loss"))  # the losses come first


def _draw_curves(axes, curves):
    from matplotlib import colormaps
    from matplotlib.ticker import MaxNLocator

    bases = list(dict.fromkeys(name.removeprefix("val_") for name in curves))
    colors = (PRETRAINED, SCRATCH, *colormaps["Dark2"].colors)
    for name, values in curves.items():
        base = name.removeprefix("val_")
        axes.plot(
            np.arange(1, len(values) + 1),
            values,
            color=colors[bases.index(base) % len(colors)],
            linestyle="--" if name != base else "-",
            marker="o" if len(values) == 1 else None,
            label=name.replace("_", " "),
        )
    shown = [base.replace("_", " ") for base in bases]
    axes.set(xlabel="epoch", title=shown[0] if len(shown) == 1 else ", ".join(shown[:3]))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.grid(axis="y", color="#e6e6e6")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_stages(axes, history):
    """Where the stages of a `finetune` history begin, and which epoch was kept."""
    end = 0
    stages = getattr(history, "stages", ())
    if stages:
        axes.set_title(axes.get_title(), pad=16)  # room for the names of the stages
    for stage in stages:
        place = (end + 0.5) if end else 1
        if end:
            axes.axvline(place, color=INK, linewidth=0.8, linestyle=":")
        axes.text(
            place, 1.0, f" {stage['name']}", transform=axes.get_xaxis_transform(), fontsize=7, va="bottom"
        )
        end += stage["epochs"]
    best = getattr(history, "best_epoch", None)
    if best is not None:
        kept = f"kept: epoch {best + 1}"
        axes.axvline(best + 1, color=INK, linewidth=5, alpha=0.15, label=kept)
