"""Which of many the default run looks at, where each costs seconds."""

import pytest


def each(members, quick):
    """A parameter per member, by its name; those not in `quick` run with the thorough tests."""

    def name(member):
        return getattr(member, "__name__", member)

    return [
        pytest.param(m, id=name(m), marks=() if name(m) in quick else pytest.mark.thorough) for m in members
    ]
