"""What `TF_CONFIG` says about the workers of this run."""

import json
import os

__all__ = ["workers_of_tf_config"]


def workers_of_tf_config():
    """Number of workers that the environment variable `TF_CONFIG` names; 0 without it.

    Raises:
        ValueError: if it cannot be read, or names parts (parameter servers, an evaluator) that do not train in step.
    """
    text = os.environ.get("TF_CONFIG", "").strip()
    if not text or text == "{}":
        return 0
    try:
        config = json.loads(text)
        cluster, task = config.get("cluster") or {}, config.get("task") or {}
        workers = [address for part in ("chief", "worker") for address in cluster.get(part, [])]
        kind, index = task.get("type"), int(task.get("index", 0))
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"TF_CONFIG is not what TensorFlow reads. Received: {text[:200]!r}. Expected JSON like "
            '{"cluster": {"worker": ["host1:port", "host2:port"]}, "task": {"type": "worker", "index": 0}}.'
        ) from error
    if not workers:
        return 0
    if "ps" in cluster or kind not in ("chief", "worker") or not 0 <= index < len(cluster.get(kind, [])):
        raise ValueError(
            "TF_CONFIG must name this process as one of its workers, and no parameter servers. Received: "
            f"cluster parts {sorted(cluster)}, task type {kind!r}, index {index}, {len(workers)} workers."
        )
    return len(workers)
