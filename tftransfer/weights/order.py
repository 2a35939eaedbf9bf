"""Which variable goes to which where the order says it: a rebuilt model, or a source without names."""

import re
from dataclasses import dataclass

from tftransfer.weights.layout import locations, place
from tftransfer.weights.receipt import listed

_ORDINAL = re.compile(r"(.+?)(?:_(\d+))?")


@dataclass(frozen=True)
class Pair:
    """A variable of the source and the one of the model that it goes to."""

    entry: object
    slot: object

    @property
    def status(self):
        same = self.entry.chain == self.slot.chain and self.entry.leaf in (
            self.slot.name,
            str(self.slot.index),
        )
        return "loaded" if same else "renamed"


def by_topology(entries, slots, where):
    """Pairs for a model that was rebuilt from the config that was saved with the weights.

    By path. A layer without a name of its own inside a custom layer is numbered anew each time it is built:
    then one by one in the model's order, where all names but the numbers, and all shapes, agree.
    """
    here, there = {slot.path: slot for slot in slots}, {entry.path: entry for entry in entries}
    if here.keys() == there.keys():
        pairs = [Pair(entry, here[entry.path]) for entry in entries]
    else:
        names = [[bare(item.path) for item in items] for items in (slots, entries)]
        agree = names[0] == names[1]
        pairs = [Pair(entry, slot) for entry, slot in zip(entries, slots, strict=True)] if agree else []
    if not pairs or any(tuple(pair.slot.variable.shape) != pair.entry.shape for pair in pairs):
        missing, unused = listed(here.keys() - there.keys()), listed(there.keys() - here.keys())
        wrong = listed(p.entry.path for p in pairs if tuple(p.slot.variable.shape) != p.entry.shape)
        raise ValueError(
            f"The weights in {where} do not fit its config. Missing: {missing or 'none'}; not used: "
            f"{unused or 'none'}; of another shape: {wrong or 'none'}."
        )
    return pairs


def by_location(entries, slots, model, source):
    """Pairs by the place in a file of Keras 3, for files without names; all places and shapes must agree."""
    by_path = {slot.path: slot for slot in slots}
    here = {where: by_path[path] for where, path in locations(model).items() if path in by_path}
    there = {place(entry.location): entry for entry in entries}
    missing, unused = sorted(here.keys() - there.keys()), sorted(there.keys() - here.keys())
    if missing or unused or len(here) != len(slots):
        raise ValueError(
            f"{source.name} cannot be loaded by order: its layers are not the model's. The model has "
            f"{listed(missing) or 'nothing'} besides, the source {listed(unused) or 'nothing'}."
        )
    return _equal([Pair(there[where], slot) for where, slot in here.items()], source)


def by_order(entries, slots, model, source):
    """Pairs by nothing but the order; equal numbers, shapes and names of variables, one by one."""
    if source.layout == "legacy" and any(len(entry.chain) > 1 for entry in entries):
        raise ValueError(
            f"{source.name} cannot be loaded by order: inside a layer it lists trainable weights first, so "
            "that a frozen layer changes the order. It has names: leave by_order out, or pass mapping=."
        )
    if len(entries) != len(slots):
        raise ValueError(
            f"{source.name} cannot be loaded by order: it has {len(entries)} weights, the model {len(slots)}."
        )
    return _equal([Pair(entry, slot) for entry, slot in zip(entries, slots, strict=True)], source)


def _equal(pairs, source):
    wrong = [
        f"{pair.entry.path} {pair.entry.shape} to {pair.slot.path} {tuple(pair.slot.variable.shape)}"
        for pair in pairs
        if tuple(pair.slot.variable.shape) != pair.entry.shape
        or (not pair.entry.leaf.isdecimal() and pair.entry.leaf != pair.slot.name)
    ]
    if wrong:
        raise ValueError(f"{source.name} cannot be loaded by order, which would take {listed(wrong)}.")
    return pairs


def split(name):
    """`dense_3` → `("dense", 3)`, `dense` → `("dense", 0)`."""
    base, number = _ORDINAL.fullmatch(name).groups()
    return base, int(number or 0)


def bare(path):
    """A path without the numbers at the ends of its names."""
    return "/".join(split(name)[0] for name in path.split("/"))
