"""Small tables, as aligned text for a terminal and as HTML for a notebook."""

import html
import unicodedata
from itertools import zip_longest

_CELL = "padding:2px 10px;text-align:{};border:none"


def _width(text):
    """Columns in a terminal: East Asian wide characters take two, combining marks none."""
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def clip(text, limit):
    """The text in at most `limit` columns, an ellipsis for what was cut."""
    if _width(text) <= limit:
        return text
    while _width(text) >= limit:
        text = text[:-1]
    return text + "…"


def text_table(header, rows, *, left=1, limit=24, rule=True):
    """Aligned text: `left` columns flush left, the rest flush right, no cell wider than `limit`.

    Args:
        header: The columns' names.
        rows: Sequences of cells, already formatted as strings; an empty row makes an empty line.
        left: How many columns, from the first, hold words.
        limit: Widest cell in terminal columns.
        rule: Whether to draw a line under the header.

    Returns:
        The table without a final newline.

    Example:
        >>> print(text_table(["class", "F1"], [["cat", "0.91"], ["caterpillar", "1.00"]]))
        class          F1
        -----------------
        cat          0.91
        caterpillar  1.00
    """
    clipped = [[clip(str(cell), limit) for cell in row] for row in (header, *rows)]
    widths = [
        max(map(_width, column)) for column in zip_longest(*(row for row in clipped if row), fillvalue="")
    ]

    def line(row):
        cells = []
        for index, (cell, width) in enumerate(zip(row, widths, strict=False)):
            space = " " * (width - _width(cell))
            cells.append(cell + space if index < left else space + cell)
        return "  ".join(cells).rstrip()

    lines = [line(row) for row in clipped]
    if rule:
        lines.insert(1, "-" * (sum(widths) + 2 * (len(widths) - 1)))
    return "\n".join(lines)


def html_table(header, rows, *, left=1, shades=None):
    """The same table as HTML, every cell escaped.

    Args:
        header: The columns' names.
        rows: Sequences of cells, already formatted as strings.
        left: How many columns, from the first, hold words.
        shades: Optional darkness in [0, 1] per cell, same shape as `rows` without their `left` columns.

    Returns:
        A `<table>` element.
    """

    def cells(row, tag, darkness=None):
        out = []
        for index, cell in enumerate(row):
            style = _CELL.format("left" if index < left else "right")
            if darkness is not None and index >= left:
                style += f";background:rgba(31,99,163,{0.85 * darkness[index - left]:.2f})"
                style += ";color:white" if darkness[index - left] > 0.55 else ""
            out.append(f'<{tag} style="{style}">{html.escape(str(cell))}</{tag}>')
        return "<tr>" + "".join(out) + "</tr>"

    body = "".join(
        cells(row, "td", None if shades is None else shades[i]) for i, row in enumerate(rows) if row
    )
    return f'<table style="border-collapse:collapse;margin:6px 0">{cells(header, "th")}{body}</table>'
