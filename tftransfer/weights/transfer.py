"""transfer_weights: weights from anywhere into a model, each to its place, nothing left unsaid."""

import math
import re

from tftransfer.weights.matching import by_name
from tftransfer.weights.paths import slots as slots_of
from tftransfer.weights.receipt import Line, Receipt, as_numpy, listed
from tftransfer.weights.record import checksum
from tftransfer.weights.sources import open_source


def transfer_weights(source, model, *, mapping=None, allow_missing=(), allow_unused=()):
    """Copies weights into a built model by the names of its layers, and says what became of each.

    Strict: a variable of the model that stays random, a weight of the source that is not used and a shape
    that does not fit are errors, unless excused. Nothing is changed in the model unless everything is right.

    A weight goes to the variable of the same path (`variable_paths`). Names that Keras made up (`dense_3`)
    count as `dense`, one by one in their order, where the source and the model have equally many of them
    under one parent. A source that is a part of the model, or the model of the source, is found. What is left
    goes by the name of its layer alone, where that is unambiguous.

    Args:
        source: a weights file or a `keras.Model`.
        model: the built model that receives; one of its layers or sub-models may be given instead.
        mapping: dict, regular expression -> replacement, applied to each path of the source, in order.
        allow_missing: regular expression, or several, of variables of the model that may stay as they are.
        allow_unused: the same, of weights of the source that need not be used.

    Returns:
        A `Receipt`.

    Raises:
        OSError: the file is missing or must not be read.
        ValueError: something is missing, unused or does not fit (the first ten are listed); the file is
        damaged or
            unsafe; an entry of `mapping` matches nothing.

    Example:

    >>> import keras
    >>> encoder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="first")])
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="first"), keras.layers.Dense(2)])
    >>> receipt = transfer_weights(encoder, model, allow_missing="dense")
    >>> receipt.counts["loaded"], receipt.counts["random"]
    (2, 2)
    """
    missing, unused = _patterns(allow_missing, "allow_missing"), _patterns(allow_unused, "allow_unused")
    slots = slots_of(model)
    with open_source(source) as opened:
        if any(entry.chain is None for entry in opened.entries):
            raise ValueError(f"{opened.name} names no layers (Keras before 3.6 wrote it).")

        def excused(item):
            return _any(missing if hasattr(item, "variable") else unused, item.path)

        pairs = by_name(opened.entries, slots, places=_places(opened.entries, mapping), excused=excused)
        pairs, left = _decide(opened, slots, pairs, missing, unused)
        return deliver(opened, model, pairs, left)


def deliver(source, model, pairs, left=()):
    """Reads all values, then assigns them all; a failure leaves the model as it was.

    Args:
        source: an open `Source`. pairs: what goes where. left: `Line`s of what stays or is not used.
    """
    lines, values = list(left), []
    for pair in pairs:
        value = source.read(pair.entry)
        note = ""
        if str(pair.slot.variable.dtype) != pair.entry.dtype:
            note = f"{pair.entry.dtype} → {pair.slot.variable.dtype}"
        values.append((pair, value, note))
    for pair, value, note in values:
        variable = pair.slot.variable
        variable.assign(value)
        expected = checksum(value) if not note else checksum(as_numpy(variable))
        lines.append(
            Line(
                pair.status,
                pair.slot.path,
                pair.entry.path,
                tuple(variable.shape),
                value.size,
                note,
                expected,
            )
        )
    for layer in {id(pair.slot.layer): pair.slot.layer for pair in pairs}.values():
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()  # Normalization keeps what it computes from its variables
    variables = {pair.slot.path: pair.slot.variable for pair in pairs}
    return Receipt(lines, variables, source=source.name, model=repr(model.name), record=source.record)


def _places(entries, mapping):
    """entry -> (chain, leaf) after `mapping`."""
    places = {entry: entry.path for entry in entries}
    for pattern, replacement in (mapping or {}).items():
        try:
            matched = [entry for entry in entries if re.search(pattern, places[entry])]
            places |= {entry: re.sub(pattern, replacement, places[entry]) for entry in matched}
        except re.error as error:
            raise ValueError(
                f"mapping has {pattern!r} → {replacement!r}, which is no regular expression: {error}."
            ) from error
        if not matched:
            raise ValueError(
                f"mapping has {pattern!r}, which matches no weight of the source; it has {listed(e.path for e in entries)}."
            )
    doubled = len(places) - len(set(places.values()))
    if doubled:
        raise ValueError(f"mapping puts {doubled} weights of the source where another one goes already.")
    return {entry: (tuple(path.split("/")[:-1]), path.rsplit("/", 1)[-1]) for entry, path in places.items()}


def _decide(source, slots, pairs, missing, unused):
    """The pairs that fit, and lines for the rest; ValueError for what is neither right nor excused."""
    good, left, wrong = [], [], []
    paired = set()
    for pair in pairs:
        shape = tuple(pair.slot.variable.shape)
        if shape == pair.entry.shape:
            good.append(pair)
            paired |= {id(pair.entry), id(pair.slot)}
        elif _any(missing, pair.slot.path):
            note = f"its shape is {shape} in the model"
            left.append(Line("unused", pair.entry.path, None, pair.entry.shape, pair.entry.parameters, note))
            paired.add(id(pair.entry))
        else:
            wrong.append(f"{pair.slot.path} is {shape} in the model and {pair.entry.shape} in the source")
            paired |= {id(pair.entry), id(pair.slot)}
    random = [slot for slot in slots if id(slot) not in paired]
    rest = [entry for entry in source.entries if id(entry) not in paired]
    problems = [f"{len(wrong)} do not fit: {listed(wrong)}"] if wrong else []
    lacking = [slot.path for slot in random if not _any(missing, slot.path)]
    extra = [entry.path for entry in rest if not _any(unused, entry.path)]
    problems += (
        [f"{len(lacking)} would stay random (allow_missing= excuses them): {listed(lacking)}"]
        if lacking
        else []
    )
    problems += [f"{len(extra)} are not used (allow_unused= excuses them): {listed(extra)}"] if extra else []
    if problems or not good:
        problems = problems or ["nothing at all matches"]
        raise ValueError(
            f"The weights of {source.name} do not fit the model, which is unchanged: "
            + "; ".join(problems)
            + ". "
            "Where names differ, pass mapping={regular expression: replacement}."
        )
    left += [
        Line("random", s.path, None, tuple(s.variable.shape), math.prod(s.variable.shape), "") for s in random
    ]
    left += [Line("unused", e.path, None, e.shape, e.parameters) for e in rest]
    return good, left


def _patterns(patterns, name):
    patterns = [patterns] if isinstance(patterns, str) else list(patterns or ())
    try:
        return [re.compile(pattern) for pattern in patterns]
    except (re.error, TypeError) as error:
        raise ValueError(f"{name} takes regular expressions; received {patterns!r}: {error}.") from error


def _any(patterns, path):
    return any(pattern.search(path) for pattern in patterns)
