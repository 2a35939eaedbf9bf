"""Where an interrupted fine-tuning run goes on, and what it must have in common with the one that was cut."""

import json
import re

__all__ = ["calls_left", "rules_of", "settings_of"]


def calls_left(start, steps, last):
    """The calls of `fit` left after `start` steps.

    Args:
        start: steps of the run that are done.
        steps: steps an epoch.
        last: number of the last epoch, from 1.

    Yields:
        `(first step, last epoch, steps an epoch)`.

    Example:

    >>> list(calls_left(7, 5, 4))
    [(7, 2, 3), (10, 4, 5)]
    """
    whole = -(-start // steps) * steps
    if start % steps:  # first the rest of the epoch that was cut
        yield start, start // steps + 1, whole - start
    if whole < last * steps:
        yield whole, last, steps


def rules_of(multipliers, context):
    """Rules that give each path the multiplier it had, and freeze the rest.

    Args:
        multipliers: `{path: multiplier}` of what moved.
        context: the `policies.Context` of the task.
    """
    rules = {}
    for value in sorted(set(multipliers.values())):
        paths = "|".join(re.escape(path) for path, its in multipliers.items() if its == value)
        rules[f"^(?:{paths})$"] = value
    return rules if len(multipliers) == len(context.paths) else {**rules, ".*": 0.0}


def settings_of(policy, optimizer, **others):
    """What the final weights depend on, as JSON.

    Args:
        policy: the `policies.Policy`.
        optimizer: the user's optimizer, or None.
        others: whatever else there is, JSON.
    """
    config = (
        None if optimizer is None else {**optimizer.get_config(), "name": None}
    )  # Keras numbers the names
    return {
        "policy": repr(policy),
        "multipliers": [str(stage.multipliers) for stage in policy],
        "schedules": [str(stage.schedule) for stage in policy],
        "batch_norm": [stage.batch_norm for stage in policy],
        "optimizer": json.dumps(config, sort_keys=True, default=str),
        **others,
    }
