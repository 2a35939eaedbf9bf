"""What an interrupted fine-tuning run must have in common with the one that was cut."""

import json
import re

__all__ = ["rules_of", "settings_of"]


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
