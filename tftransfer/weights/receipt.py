"""What a transfer did: which variable got which numbers from where."""

import html
from dataclasses import dataclass

from tftransfer.weights.record import checksum

ORDER = ("loaded", "renamed", "adapted", "random", "unused")
_MEANING = {
    "loaded": "same path in both",
    "renamed": "found under another name",
    "adapted": "reshaped to fit",
    "random": "left as it was",
    "unused": "in the source only",
}


@dataclass(frozen=True)
class Line:
    """The fate of one variable."""

    status: str  # one of ORDER
    path: str  # in the model; for an unused one, in the source
    source: str | None  # path in the source
    shape: tuple
    parameters: int
    note: str = ""
    checksum: str | None = None  # of the values that the model shall hold now


class Receipt:
    """What `transfer_weights` and `load_backbone` did, variable by variable.

    Print it for a table; a notebook shows it by itself. `verify()` reads the model's variables back and
    compares them with what was to arrive, `assert_loaded()` insists that nothing was left random.

    Attributes:
        lines: one `Line` for each variable: `status` (`"loaded"`, `"renamed"`, `"adapted"`, `"random"`,
            `"unused"`), `path`, `source`, `shape`, `parameters`, `note`.
        source: where the weights came from, in words.
        record: the `Record` of a self-describing file, else None.
        summary: one line of text.

    Example:

    >>> import keras
    >>> from tftransfer.weights import transfer_weights
    >>> first = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d")])
    >>> second = keras.models.clone_model(first)
    >>> receipt = transfer_weights(first, second)
    >>> receipt.counts["loaded"], receipt.verify().assert_loaded().percent_loaded
    (2, 100.0)
    """

    def __init__(self, lines, variables, *, source, model, record=None):
        self.lines = tuple(lines)
        self.source = source
        self.model_name = model
        self.record = record
        self._variables = variables

    def of(self, status):
        """The lines of one status."""
        return [line for line in self.lines if line.status == status]

    @property
    def counts(self):
        """Number of variables by status."""
        return {status: len(self.of(status)) for status in ORDER}

    @property
    def parameters(self):
        """Number of values by status."""
        return {status: sum(line.parameters for line in self.of(status)) for status in ORDER}

    @property
    def percent_loaded(self):
        """Share of the model's parameters that came from the source, in per cent."""
        by_status = self.parameters
        total = sum(by_status[status] for status in ORDER[:4])
        return 100.0 * (total - by_status["random"]) / max(total, 1)

    @property
    def summary(self):
        counts = self.counts
        parts = [f"{counts[s]} {s}" for s in ORDER if counts[s]]
        return (
            f"{self.source} → {self.model_name}: {', '.join(parts)}; {self.percent_loaded:.1f}% of parameters"
        )

    def verify(self):
        """Compares checksums: what each variable holds now against what was read for it.

        Returns:
            The receipt itself.

        Raises:
            ValueError: some variables hold something else; call it before the model is trained.
        """
        wrong = [
            line.path
            for line in self.lines
            if line.checksum is not None and checksum(as_numpy(self._variables[line.path])) != line.checksum
        ]
        if wrong:
            raise ValueError(
                f"{len(wrong)} variables of {self.model_name} do not hold what was read for them (or were "
                f"changed since): {listed(wrong)}."
            )
        return self

    def assert_loaded(self):
        """Insists that every variable of the model came from the source.

        Returns:
            The receipt itself.

        Raises:
            ValueError: some were left random; lists them.
        """
        random = [line.path for line in self.of("random")]
        if random or not self.lines:
            raise ValueError(
                f"{len(random)} variables of {self.model_name} were not loaded: {listed(random)}."
            )
        return self

    def __str__(self):
        rows = [("", "variables", "parameters", "")]
        rows += [
            (s, f"{self.counts[s]:,}", f"{self.parameters[s]:,}", _MEANING[s])
            for s in ORDER
            if self.counts[s]
        ]
        text = [self.summary, "", *aligned(rows)]
        for status in ORDER[1:]:
            lines = self.of(status)
            if lines:
                text += ["", f"{status}:", *aligned([_cells(line) for line in lines[:10]])]
                text += [f"  ... and {len(lines) - 10} more"] if len(lines) > 10 else []
        return "\n".join(text)

    __repr__ = __str__

    def _repr_html_(self):
        def row(cells, tag="td"):
            return "<tr>" + "".join(f"<{tag}>{html.escape(str(c))}</{tag}>" for c in cells) + "</tr>"

        counts = "".join(
            row((s, self.counts[s], self.parameters[s], _MEANING[s])) for s in ORDER if self.counts[s]
        )
        details = "".join(row((line.status, *_cells(line))) for line in self.lines)
        return (
            f"<p>{html.escape(self.summary)}</p>"
            f"<table>{row(('', 'variables', 'parameters', ''), 'th')}{counts}</table>"
            f"<details><summary>all variables</summary><table>{details}</table></details>"
        )


def listed(paths, limit=10):
    """The first names, and how many more."""
    paths = list(paths)
    more = f" and {len(paths) - limit} more" if len(paths) > limit else ""
    return ", ".join(str(path) for path in paths[:limit]) + more


def as_numpy(variable):
    """The values of a variable, of one replica where there are several."""
    from keras import ops

    return ops.convert_to_numpy(variable)


def _cells(line):
    origin = f"← {line.source}" if line.source not in (None, line.path) else ""
    return (line.path, origin, str(tuple(line.shape)), line.note)


def aligned(rows):
    """Rows of texts as lines of a table; columns of numbers are set to the right."""
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    numeric = [all(cell.replace(",", "").isdecimal() for cell in column[1:]) for column in columns]
    lines = []
    for row in rows:
        cells = zip(row, widths, numeric, strict=True)
        lines.append("  ".join(cell.rjust(w) if right else cell.ljust(w) for cell, w, right in cells))
    return ["  " + line.rstrip() for line in lines]
