"""Regular expressions over paths: which may be left out, and what goes where under another name."""

import re

from tftransfer.weights.receipt import listed


def places(entries, mapping):
    """entry -> (chain, leaf) after `mapping`."""
    places = {entry: entry.path for entry in entries}
    for pattern, replacement in (mapping or {}).items():
        try:
            matched = [entry for entry in entries if re.search(pattern, places[entry])]
            places |= {entry: re.sub(pattern, replacement, places[entry]) for entry in matched}
        except (re.error, TypeError) as error:
            raise ValueError(
                f"mapping has {pattern!r}: {replacement!r}, no regular expression: {error}."
            ) from error
        if not matched:
            has = listed(entry.path for entry in entries)
            raise ValueError(f"mapping has {pattern!r}, which matches nothing of the source; it has {has}.")
    if len(places) > len(set(places.values())):
        cause = "mapping puts" if mapping else "Layers of one name stand side by side, which puts"
        raise ValueError(f"{cause} several weights of the source at one place.")
    return {entry: (tuple(path.split("/")[:-1]), path.split("/")[-1]) for entry, path in places.items()}


def patterns(given, name):
    """Compiled patterns of one text or several."""
    given = [given] if isinstance(given, str) else list(given or ())
    try:
        return [re.compile(pattern) for pattern in given]
    except (re.error, TypeError) as error:
        raise ValueError(f"{name} takes regular expressions; received {given!r}: {error}.") from error


def matches(compiled, path):
    """Whether any of the patterns is found in the path."""
    return any(pattern.search(path) for pattern in compiled)
