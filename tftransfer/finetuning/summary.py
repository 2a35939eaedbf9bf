"""What a stage is about to do, in a line or two."""

__all__ = ["rates_by_depth", "stage_summary"]

_SHOWN = 8  # groups of equal rates; of more, the first and last are shown


def stage_summary(place, name, applied, *, once, why_not, rate, notes, groups, seconds=None):
    """The lines that `finetune` prints before a stage.

    Args:
        place: such as "Stage 1 of 2".
        name: of the stage.
        applied: a `freezing.Applied`.
        once: what is computed once ("embeddings", "the features of what is frozen"), or None.
        why_not: why what is frozen runs in every step all the same, or None.
        rate: peak learning rate, a number; or another's schedule.
        notes: where the rate comes from and how it runs, words; empty ones are left out.
        groups: the groups of variable paths from the input to the head (`policies.Context.groups`).
        seconds: how long the stage will take, where that is known.
    """
    computed = f", on {once} computed once" if once else ""
    if why_not:
        computed += f", what is frozen running in every step ({why_not})"
    shown = f"{rate:g}" if isinstance(rate, float) else type(rate).__name__
    notes = ", ".join(note for note in notes if note)
    takes = f"; about {seconds:.2g} s" if seconds is not None else ""
    line = f"{place}, {name}: {applied}{computed}; learning rate {shown}{applied.spread} ({notes}){takes}."
    if len(groups) > 1 and set(applied.multipliers.values()) | _frozen(groups, applied) != {1.0}:
        line += f"\n  Rates from the input to the head: {rates_by_depth(groups, applied.multipliers, rate)}."
    return line


def rates_by_depth(groups, multipliers, rate):
    """The learning rate of each depth group, in words.

    Args:
        groups: lists of paths, from the input to the head.
        multipliers: `{path: multiplier}` of what moves.
        rate: a number, or a schedule, of which multiples are shown.

    Example:

    >>> rates_by_depth([["a"], ["b", "c"], ["d"], ["head"]], {"c": 0.5, "d": 0.5, "head": 1.0}, 0.01)
    'frozen, 0.005 in part, 0.005, head 0.01'
    """
    words = [_words([multipliers.get(path, 0.0) for path in group], rate) for group in groups]
    runs = []
    for word in words[:-1]:
        if runs and runs[-1][0] == word:
            runs[-1][1] += 1
        else:
            runs.append([word, 1])
    shown = [word if count == 1 else f"{word} ({count} groups)" for word, count in runs]
    if len(shown) > _SHOWN:
        half = _SHOWN // 2
        shown = [*shown[:half], "...", *shown[-half:]]
    return ", ".join([*shown, f"head {words[-1]}"])


def _words(values, rate):
    moving = sorted({value for value in values if value})
    if not moving:
        return "frozen"
    low, high = (
        f"{rate * v:.3g}" if isinstance(rate, float) else f"× {v:.3g}" for v in (moving[0], moving[-1])
    )
    text = low if low == high else f"{low} to {high}"
    return text if all(values) else f"{text} in part"


def _frozen(groups, applied):
    """{0.0} where some variable does not move, else nothing."""
    return {0.0} if sum(map(len, groups)) > len(applied.multipliers) else set()
