"""What `TF_CONFIG` says about the workers of this run."""

import dataclasses
import json
import os

__all__ = ["Cluster", "cluster_of_tf_config", "workers_of_tf_config"]


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers of a run, in TensorFlow's order (a chief first), and which of them this process is.

    Args:
        addresses: `host:port` of each.
        index: number of this process.
    """

    addresses: tuple
    index: int

    def name(self, index):
        """A worker in words: `worker 1 (host:port)`; worker 0 is called the chief as well."""
        return f"worker {index} ({'the chief, ' if index == 0 else ''}{self.addresses[index]})"


def cluster_of_tf_config():
    """The `Cluster` that the environment variable `TF_CONFIG` describes; None without it.

    Raises:
        ValueError: if it cannot be read, or names parts (parameter servers, an evaluator) that do not train in step.
    """
    text = os.environ.get("TF_CONFIG", "").strip()
    if not text or text == "{}":
        return None
    try:
        config = json.loads(text)
        cluster, task = config.get("cluster") or {}, config.get("task") or {}
        addresses = tuple(address for part in ("chief", "worker") for address in cluster.get(part, []))
        kind, index = task.get("type"), int(task.get("index", 0))
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"TF_CONFIG is not what TensorFlow reads. Received: {text[:200]!r}. Expected JSON like "
            '{"cluster": {"worker": ["host1:port", "host2:port"]}, "task": {"type": "worker", "index": 0}}.'
        ) from error
    if not addresses:
        return None
    if "ps" in cluster or kind not in ("chief", "worker") or not 0 <= index < len(cluster.get(kind, [])):
        raise ValueError(
            "TF_CONFIG must name this process as one of its workers, and no parameter servers. Received: "
            f"cluster parts {sorted(cluster)}, task type {kind!r}, index {index}, {len(addresses)} workers."
        )
    return Cluster(addresses, index + (len(cluster.get("chief", [])) if kind == "worker" else 0))


def workers_of_tf_config():
    """Number of workers that `TF_CONFIG` names; 0 without it. Raises as `cluster_of_tf_config`."""
    cluster = cluster_of_tf_config()
    return 0 if cluster is None else len(cluster.addresses)
