"""The figure that results draw on; imported only when something is drawn, since matplotlib takes its time."""

import io

import matplotlib.figure
from matplotlib.backends.backend_agg import FigureCanvasAgg


class Figure(matplotlib.figure.Figure):
    """A figure without pyplot: needs no screen, stays in no global list, and a notebook shows it.

    Notebooks show matplotlib's own figures only once `%matplotlib inline` or pyplot has prepared them.

    Args:
        size: Width and height in inches.

    Example:

    >>> Figure((4, 3))._repr_png_()[:4]
    b'\\x89PNG'
    """

    def __init__(self, size):
        super().__init__(figsize=size, layout="constrained", facecolor="white")
        FigureCanvasAgg(self)

    def _repr_png_(self):
        picture = io.BytesIO()
        self.savefig(picture, format="png")
        return picture.getvalue()
