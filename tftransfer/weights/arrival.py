"""The last step: values that fit are assigned to variables, and the receipt is written."""

from dataclasses import dataclass

import numpy as np

from tftransfer.weights.order import Pair
from tftransfer.weights.receipt import Line, Receipt, as_numpy
from tftransfer.weights.record import checksum


@dataclass(frozen=True)
class Arrival:
    """A pair with the value that shall arrive."""

    pair: Pair
    value: np.ndarray
    notes: tuple = ()


def deliver(source, model, arrivals, lines=()):
    """Assigns values that fit, and writes the receipt; `lines` are of what stays random or is not used."""
    lines, variables = list(lines), {}
    for arrival in arrivals:
        pair, value = arrival.pair, arrival.value
        variable = variables[pair.slot.path] = pair.slot.variable
        variable.assign(value)
        cast = () if str(variable.dtype) == value.dtype.name else (f"{value.dtype.name} → {variable.dtype}",)
        expected = checksum(as_numpy(variable) if cast else value)
        status = "adapted" if arrival.notes else pair.status
        notes = "; ".join((*arrival.notes, *cast))
        lines.append(
            Line(
                status,
                pair.slot.path,
                pair.entry.path,
                tuple(variable.shape),
                int(value.size),
                notes,
                expected,
            )
        )
    for layer in {id(a.pair.slot.layer): a.pair.slot.layer for a in arrivals}.values():
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()  # Normalization keeps what it computes from its variables
    return Receipt(lines, variables, source=source.name, model=repr(model.name), record=source.record)
