"""transfer_weights: weights from anywhere into a model, each to its place, nothing left unsaid."""

import math

from tftransfer.weights.adapt_pictures import input_channels, patch_size, positions
from tftransfer.weights.arrival import Arrival, deliver
from tftransfer.weights.matching import by_name
from tftransfer.weights.order import by_location, by_order
from tftransfer.weights.paths import slots as slots_of
from tftransfer.weights.patterns import matches, patterns, places
from tftransfer.weights.receipt import Line, listed
from tftransfer.weights.sources import open_source
from tftransfer.weights.vocabulary import check_vocabulary

ADAPTATIONS = (input_channels(), patch_size(), positions())


def transfer_weights(
    source, model, *, mapping=None, allow_missing=(), allow_unused=(), by_order=False, adapt=ADAPTATIONS
):
    """Copies weights into a built model by the names of its layers, and says what became of each.

    Strict: a variable of the model that stays random, a weight of the source that is not used and a shape
    that does not fit are errors, unless excused. The model is changed when everything is right, or not at
    all.

    A weight goes to the variable of the same path (see `variable_paths`). Names that Keras made up
    (`dense_3`) are compared as families: `dense_3`, `dense_4` go to `dense`, `dense_1` where the source and
    the model have equally many under one parent. A source that is a part of the model, or the model of the
    source, is found. What is left goes by the name of its layer alone, where that is unambiguous.

    Args:
        source: the file of `save_backbone` or `pretrain`; any `.weights.h5`; a `.keras` archive; an `.h5`
        file of Keras 2
            or of `keras.applications`; or a `keras.Model` in memory, such as a backbone of KerasHub.
        model: the built model that receives, or a layer or sub-model of it.
        mapping: dict, regular expression -> replacement, applied to each path of the source, in order.
        allow_missing: regular expression, or several, of variables of the model that may stay as they are.
        allow_unused: the same, of weights of the source that need not be used.
        by_order: go by position and not by name, for sources without names (Keras before 3.6 wrote such
        files). Only
            where all positions and all shapes agree.
        adapt: adaptations to make where shapes differ; by default `input_channels()`, `patch_size()` and
            `positions()`; `()` for none. `head_rows` and `token_embeddings` are the others.

    Returns:
        A `Receipt`.

    Raises:
        OSError: the file is missing or must not be read.
        ValueError: the source was trained with another tokenizer.
        ValueError: something is missing, unused or does not fit (the first ten are listed); the file is
        damaged or
            unsafe; an entry of `mapping` matches nothing.

    Example:

    >>> import keras
    >>> encoder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="first")])
    >>> layers = keras.layers.Dense(3, name="first"), keras.layers.Dense(2, name="head")
    >>> model = keras.Sequential([keras.Input((4,)), *layers])
    >>> receipt = transfer_weights(encoder, model, allow_missing="head")
    >>> receipt.counts["loaded"], receipt.counts["random"]
    (2, 2)
    """
    missing, unused = patterns(allow_missing, "allow_missing"), patterns(allow_unused, "allow_unused")
    slots = slots_of(model)
    with open_source(source) as opened:
        pairs = _pairs(opened, model, slots, mapping, missing, unused, by_order)
        arrivals = [_arrival(opened, pair, slots, () if by_order else tuple(adapt)) for pair in pairs]
        check_vocabulary(opened, source, model, arrivals)
        arrivals, lines = _decide(opened, slots, arrivals, missing, unused)
        return deliver(opened, model, arrivals, lines)


def _pairs(opened, model, slots, mapping, missing, unused, positional):
    def excused(item):
        return matches(missing if hasattr(item, "variable") else unused, item.path)

    if not positional:
        if not opened.has_names:
            raise ValueError(
                f"{opened.name} does not name its layers (Keras before 3.6 wrote it). Pass by_order=True to "
                "go by position, which is refused unless all positions and shapes agree."
            )
        return by_name(opened.entries, slots, places=places(opened.entries, mapping), excused=excused)
    if mapping:
        raise ValueError("by_order=True goes by position alone, and mapping by name: pass one of them.")
    entries, waiting = ([item for item in items if not excused(item)] for items in (opened.entries, slots))
    return (by_location if opened.layout == "keras" else by_order)(entries, waiting, model, opened)


def _arrival(opened, pair, slots, adaptations):
    value, notes = opened.read(pair.entry), []
    for adaptation in adaptations:
        adapted = adaptation(value, pair.slot, slots)
        if adapted is not None:
            value, note = adapted
            notes.append(note)
    return Arrival(pair, value, tuple(notes))


def _decide(source, slots, arrivals, missing, unused):
    """The arrivals that fit, and lines for the rest; ValueError for what is neither right nor excused."""
    good, lines, wrong, done = [], [], [], set()
    for arrival in arrivals:
        entry, slot = arrival.pair.entry, arrival.pair.slot
        shape = tuple(slot.variable.shape)
        differs = f"{entry.dtype} {entry.shape} in the source, {slot.variable.dtype} {shape} in the model"
        if arrival.value.shape == shape and _is_float(entry.dtype) == _is_float(slot.variable.dtype):
            good.append(arrival)
        elif matches(missing, slot.path):
            lines.append(Line("unused", entry.path, None, entry.shape, entry.parameters, differs))
            done.add(id(entry))
            continue
        else:
            wrong.append(f"{slot.path} ({differs})")
        done |= {id(entry), id(slot)}
    random = [slot for slot in slots if id(slot) not in done]
    rest = [entry for entry in source.entries if id(entry) not in done]
    lacking = [slot.path for slot in random if not matches(missing, slot.path)]
    extra = [entry.path for entry in rest if not matches(unused, entry.path)]
    problems = [
        f"{len(paths)} {what}: {listed(paths)}"
        for paths, what in (
            (wrong, "do not fit"),
            (lacking, "of the model would stay random (allow_missing= excuses them)"),
            (extra, "of the source are not used (allow_unused= excuses them)"),
        )
        if paths
    ]
    if problems or not good:
        raise ValueError(
            f"The weights of {source.name} do not fit the model, which is unchanged: "
            f"{'; '.join(problems) or 'nothing at all matches'}. Where names differ, pass "
            "mapping={regular expression: replacement}."
        )
    lines += [
        Line("random", s.path, None, tuple(s.variable.shape), math.prod(s.variable.shape)) for s in random
    ]
    lines += [Line("unused", e.path, None, e.shape, e.parameters) for e in rest]
    return good, lines


def _is_float(dtype):
    return "float" in str(dtype)
