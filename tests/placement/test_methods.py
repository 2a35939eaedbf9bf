"""A method of one object alone, once, and its own in a copy."""

import copy

from tftransfer.placement.methods import replace_method


class Counter:
    count = 0

    def add(self):
        self.count += 1


def twice(stock):
    def add(self):
        stock(self)
        stock(self)

    return add


def test_one_object_alone_once_and_its_copy():
    one, other = Counter(), Counter()
    for _ in range(2):
        replace_method(one, "add", twice)
    copied = copy.deepcopy(one)
    for counter in (one, other, copied, copied):
        counter.add()
    assert (one.count, other.count, copied.count) == (2, 1, 4)
