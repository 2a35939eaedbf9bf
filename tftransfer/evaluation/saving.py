"""What every result shares: it becomes JSON, it draws itself, and it never leaves half a file behind."""

import json
import math
from pathlib import Path

import numpy as np

from tftransfer.weights import atomic_write


def plain(value):
    """NumPy values, tuples and paths as JSON can hold them; what is not finite becomes None (null)."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


class Result:
    """Base of reports and comparisons: a subclass gives `to_dict()` and `_draw(figure)`."""

    _figure_size = (10.0, 4.6)  # inches

    def to_json(self, path=None):
        """The result as JSON text, with every figure; NaN becomes null.

        Args:
            path: Where to write it as well, atomically; None writes nothing.

        Returns:
            The text.

        Raises:
            OSError: `path` cannot be written.
        """
        text = json.dumps(plain(self.to_dict()), indent=2, ensure_ascii=False)
        if path is not None:
            with atomic_write(path) as temporary:
                temporary.write_text(text + "\n", encoding="utf-8")
        return text

    def plot(self, path=None):
        """Draws the result without pyplot: nothing needs a screen, and no global figure stays open.

        Args:
            path: Where to save the picture as well, atomically; its ending names the format (.png, .pdf,
                .svg).

        Returns:
            The `matplotlib.figure.Figure`; a notebook shows it.

        Raises:
            ValueError: matplotlib knows no picture format with the ending of `path`.
            OSError: `path` cannot be written.
        """
        from tftransfer.evaluation.canvas import Figure

        figure = Figure(self._figure_size)
        kind = Path(path).suffix.lstrip(".").lower() if path is not None else "png"
        known = figure.canvas.get_supported_filetypes()
        if kind not in known:
            raise ValueError(
                f"a picture's name must end in one of {', '.join(sorted(known))}; received {str(path)!r}."
            )
        self._draw(figure)
        if path is not None:
            with atomic_write(path) as temporary:
                figure.savefig(temporary, format=kind, dpi=144)
        return figure


class Drawing(Result):
    """A picture that is no report: saved, and shown in a notebook, as theirs are.

    Args:
        size: Width and height of the figure in inches.
        draw: Function that draws into the empty `matplotlib.figure.Figure` it is given.
    """

    def __init__(self, size, draw):
        self._figure_size, self._draw = size, draw
