"""Which variable of a source goes to which variable of a model, judged by the names of layers.

Both sides are trees of layers. From the outside in, a layer goes to the layer of the same name. A name that
Keras made up (`dense_3`) says little, since it counts what the process has built before: made-up names of one
kind under one parent are compared as a family, which must have the same names, or the same number of members,
taken in their order. An unequal family is ambiguous, and its members are matched by nothing but `mapping`.
"""

import re
from dataclasses import dataclass, field

import keras

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


@dataclass
class Node:
    """A layer: its variables by name (or number) and the layers in it by name."""

    leaves: dict = field(default_factory=dict)
    children: dict = field(default_factory=dict)

    def add(self, chain, leaf, item):
        node = self
        for name in chain:
            node = node.children.setdefault(name, Node())
        node.leaves[leaf] = item

    def inside(self):
        """The layers in it, at any depth."""
        for child in self.children.values():
            yield child
            yield from child.inside()

    def items(self):
        """The variables in it, at any depth."""
        return [*self.leaves.values(), *(item for child in self.children.values() for item in child.items())]


def by_topology(entries, slots, where):
    """Pairs for a model that was rebuilt from the config that was saved with the weights.

    By path. A layer without a name of its own inside a custom layer is numbered anew each time it is built:
    then one by one in the model's order, where all names but the numbers, and all shapes, agree.
    """
    here, there = {slot.path: slot for slot in slots}, {entry.path: entry for entry in entries}
    if here.keys() == there.keys():
        return [Pair(entry, here[entry.path]) for entry in entries]
    agree = len(slots) == len(entries) and all(
        _bare(slot.path) == _bare(entry.path) and tuple(slot.variable.shape) == entry.shape
        for slot, entry in zip(slots, entries, strict=True)
    )
    if not agree:
        missing, unused = listed(here.keys() - there.keys()), listed(there.keys() - here.keys())
        raise ValueError(
            f"The weights in {where} do not fit its config: missing {missing}; not used {unused}."
        )
    return [Pair(entry, slot) for slot, entry in zip(slots, entries, strict=True)]


def by_name(entries, slots, *, places, excused):
    """Pairs by path and then by name.

    Args:
        entries, slots: of the source and of the model.
        places: entry -> `(chain, leaf)`, where `mapping` puts it.
        excused: says of an entry or slot whether it may stay without a partner.
    """
    bases = _made_up(slots)
    source, target = Node(), Node()
    for entry in entries:
        source.add(*places[entry], entry)
    for slot in slots:
        target.add(slot.chain, slot.name, slot)
    pairs = _match(source, target, bases, excused)
    if not pairs:  # the one may be a part of the other: a backbone in a task
        nested = [_match(node, target, bases, excused) for node in source.inside()]
        nested += [_match(source, node, bases, excused) for node in target.inside()]
        whole = [found for found in nested if len(found) in (len(entries), len(slots))]
        pairs = whole[0] if len(whole) == 1 else []
    return pairs + _by_layer_name(entries, slots, places, pairs, bases)


def by_order(entries, slots, where):
    """Pairs by nothing but position, for sources whose order is the model's: equal numbers and shapes, one by one."""
    if len(entries) != len(slots):
        raise ValueError(
            f"{where} cannot be loaded by order: it has {len(entries)} variables, the model {len(slots)}."
        )
    pairs = [Pair(entry, slot) for entry, slot in zip(entries, slots, strict=True)]
    wrong = [
        f"{p.entry.path} {p.entry.shape} ≠ {p.slot.path} {tuple(p.slot.variable.shape)}"
        for p in pairs
        if not _fits(p)
    ]
    if wrong:
        raise ValueError(f"{where} cannot be loaded by order: {listed(wrong)}.")
    return pairs


def _match(source, target, bases, excused):
    pairs = []
    for name, slot in target.leaves.items():
        entry = source.leaves.get(name) or source.leaves.get(str(slot.index))
        pairs += [Pair(entry, slot)] if entry is not None else []
    for first, second in _partners(source.children, target.children, bases, excused):
        pairs += _match(source.children[first], target.children[second], bases, excused)
    return pairs


def _partners(source, target, bases, excused):
    """(name in the source, name in the model) of the layers that belong together."""
    families = {}
    for side, children in enumerate((source, target)):
        for name, node in children.items():
            base, number = _split(name)
            if base in bases and node.items():
                families.setdefault(base, ([], []))[side].append((number, name))
            elif side == 0 and name in target:
                yield name, name
    for first, second in families.values():
        if {name for _, name in first} != {name for _, name in second}:
            first = [x for x in first if not all(excused(item) for item in source[x[1]].items())]
            second = [x for x in second if not all(excused(item) for item in target[x[1]].items())]
        if len(first) == len(second):
            yield from ((a, b) for (_, a), (_, b) in zip(sorted(first), sorted(second), strict=True))


def _by_layer_name(entries, slots, places, pairs, bases):
    """What is left goes by the name of its layer alone, where that name is the user's and stands once on each side."""
    used = {id(pair.entry) for pair in pairs} | {id(pair.slot) for pair in pairs}
    left, right = {}, {}
    for entry in entries:
        chain, leaf = places[entry]
        if id(entry) not in used and chain:
            left.setdefault(_bare(chain[-1]), {}).setdefault(chain, {})[leaf] = entry
    for slot in slots:
        if id(slot) not in used and slot.chain:
            right.setdefault(_bare(slot.chain[-1]), {}).setdefault(slot.chain, []).append(slot)
    found = []
    for name in left.keys() & right.keys():
        if name in bases or len(left[name]) > 1 or len(right[name]) > 1:
            continue
        (leaves,), (targets,) = left[name].values(), right[name].values()
        for slot in targets:
            entry = leaves.get(slot.name) or leaves.get(str(slot.index))
            found += [Pair(entry, slot)] if entry is not None else []
    return found


def _fits(pair):
    named = not pair.entry.leaf.isdecimal() and pair.entry.chain is not None
    return tuple(pair.slot.variable.shape) == pair.entry.shape and (
        not named or pair.entry.leaf == pair.slot.name
    )


def _made_up(slots):
    """Names that Keras makes up from classes: its own ones and those of this model's layers."""
    classes = {name for name in dir(keras.layers) if name[0].isupper()} | {
        "Functional",
        "Sequential",
        "Model",
    }
    return {_snake(name) for name in classes | {type(slot.layer).__name__ for slot in slots}}


def _snake(name):
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _split(name):
    base, number = _ORDINAL.fullmatch(name).groups()
    return base, int(number or 0)


def _bare(path):
    return "/".join(_split(name)[0] for name in path.split("/"))
