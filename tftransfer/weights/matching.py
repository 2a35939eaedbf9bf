"""Which variable of a source goes to which variable of a model, judged by the names of layers.

Both sides are trees of layers. From the outside in, a layer goes to the layer of the same name. A name that
Keras made up (`dense_3`) says little, since it counts what the process has built before: made-up names of one
kind under one parent are compared as a family, which must have the same names, or the same number of members,
taken in order. An unequal family is ambiguous, and its members are matched by nothing but `mapping`.
"""

import re
from dataclasses import dataclass, field

import keras

from tftransfer.weights.order import Pair, split


@dataclass
class Node:
    """A layer: its variables by name (or number), and the layers in it by name."""

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


def by_name(entries, slots, *, places, excused):
    """Pairs by path and then by name.

    Args:
        entries, slots: of the source and of the model.
        places: entry -> `(chain, leaf)`, where `mapping` puts it.
        excused: says of an entry or slot whether it may stay without a partner.
    """
    bases = _made_up(slots)
    said = {places[e]: e for e in entries if places[e][0][-1:] != e.chain[-1:]}  # `mapping` names their layer
    pairs = [Pair(entry, slot) for slot in slots for entry in [_at(said, slot)] if entry is not None]
    done = {id(pair.slot) for pair in pairs} | {id(pair.entry) for pair in pairs}
    entries, slots = ([item for item in items if id(item) not in done] for items in (entries, slots))
    source, target = Node(), Node()
    for entry in entries:
        source.add(*places[entry], entry)
    for slot in slots:
        target.add(slot.chain, slot.name, slot)
    found = _match(source, target, bases, excused)
    if not found:  # the one may be a part of the other: a backbone in a task
        nested = [_match(node, target, bases, excused) for node in source.inside()]
        nested += [_match(source, node, bases, excused) for node in target.inside()]
        whole = [pairs for pairs in nested if len(pairs) in (len(entries), len(slots))]
        found = whole[0] if len(whole) == 1 else []
    return pairs + found + _by_layer_name(entries, slots, found, bases)


def _at(places, slot):
    return places.get((slot.chain, slot.name)) or places.get((slot.chain, str(slot.index)))


def _match(source, target, bases, excused):
    pairs = _same_leaves(source.leaves, target.leaves.values())
    for first, second in _partners(source.children, target.children, bases, excused):
        pairs += _match(source.children[first], target.children[second], bases, excused)
    return pairs


def _same_leaves(leaves, slots):
    """By the variable's name, or by its number where the source has no names, or old ones (`conv_W_1`)."""
    by_number = {entry.index: entry for entry in leaves.values()}
    found = [(leaves.get(slot.name) or leaves.get(str(slot.index)), slot) for slot in slots]
    if not any(entry for entry, _ in found) and len(by_number) == len(leaves) == len(slots):
        found = [(by_number.get(slot.index), slot) for slot in slots]
    return [Pair(entry, slot) for entry, slot in found if entry is not None]


def _partners(source, target, bases, excused):
    """(name in the source, name in the model) of the layers that belong together."""
    families = {}
    for side, children in enumerate((source, target)):
        for name in children:
            base, number = split(name)
            families.setdefault(base, ([], []))[side].append((number, name))
    for base, (first, second) in families.items():
        common = {name for _, name in first} & {name for _, name in second}
        if base not in bases and (common or len(first) != 1):
            yield from ((name, name) for name in sorted(common))
            continue
        if len(common) < max(len(first), len(second)):
            first = [x for x in first if not all(excused(item) for item in source[x[1]].items())]
            second = [x for x in second if not all(excused(item) for item in target[x[1]].items())]
        if len(first) == len(second):
            yield from ((a, b) for (_, a), (_, b) in zip(sorted(first), sorted(second), strict=True))


def _by_layer_name(entries, slots, pairs, bases):
    """What is left goes by its layer's name alone, if the user chose it and it stands once on each side."""
    used = {id(pair.entry) for pair in pairs} | {id(pair.slot) for pair in pairs}
    left, right = {}, {}
    for entry in entries:
        if id(entry) not in used and entry.chain:
            left.setdefault(entry.chain[-1], {}).setdefault(entry.chain, {})[entry.leaf] = entry
    for slot in slots:
        if id(slot) not in used and slot.chain:
            right.setdefault(slot.chain[-1], {}).setdefault(slot.chain, []).append(slot)
    found = []
    for name in left.keys() & right.keys():
        if split(name)[0] not in bases and len(left[name]) == len(right[name]) == 1:
            (leaves,), (targets,) = left[name].values(), right[name].values()
            found += _same_leaves(leaves, targets)
    return found


def _made_up(slots):
    """Names that Keras makes up from classes: its own ones and those of this model's layers."""
    classes = {name for name in dir(keras.layers) if name[0].isupper()} | {"Functional", "Model"}
    return {_snake(name) for name in classes | {type(slot.layer).__name__ for slot in slots}} | {"sequential"}


def _snake(name):
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
