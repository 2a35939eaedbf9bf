"""The processes that train one model together: who writes, what they must agree on, which examples each reads."""

import contextlib
import json
import re
import tempfile
import zlib
from pathlib import Path

import keras
import numpy as np

from tftransfer.placement.cluster import Cluster, cluster_of_tf_config

__all__ = ["Workers", "workers_of"]

_CHUNK = 1 << 22  # bytes of a file that are sent at a time
_made = {}  # strategy -> what adds up over its workers: traced once


def workers_of(model):
    """The processes that train a model together: those of `TF_CONFIG` under MultiWorkerMirrored, else this one alone.

    Args:
        model: a `PlacedModel`, or another Keras model.

    Example:
        >>> import tftransfer as tt
        >>> workers = tt.placement.workers_of(tt.backbones.mlp((4,)))
        >>> workers.count, workers.is_chief
        (1, True)
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        strategy = model.distribute_strategy
        if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            cluster = cluster_of_tf_config()
            if cluster is not None and len(cluster.addresses) > 1:
                return Workers(cluster, strategy)
    return Workers()


class Workers:
    """The processes that train one model together, as one of them sees them.

    Whoever calls a method here calls it on every worker, at the same place of the program; `is_chief` and `share` ask
    nobody. Alone, all of them do nothing and cost nothing.

    Args:
        cluster: the `Cluster`; by default this process alone.
        strategy: the `tf.distribute.MultiWorkerMirroredStrategy` that connects them.

    Attributes:
        index, count: number of this worker, and of all.
        is_chief: whether this is the one that writes files and speaks.
        share: `(first, behind, all)`, the replicas of this worker among all, for `data.batches`; None alone.

    Example:
        >>> workers = Workers()
        >>> with workers.agree() as record:
        ...     record["settings"] = {"epochs": 3}
        >>> workers.any(True)
        True
    """

    def __init__(self, cluster=None, strategy=None):
        self.cluster = cluster or Cluster(("here",), 0)
        self.strategy = strategy
        self.index, self.count = self.cluster.index, len(self.cluster.addresses)
        self.is_chief = self.index == 0
        self.share = None
        if self.count > 1:
            everyone = strategy.num_replicas_in_sync
            here = everyone // self.count
            self.share = (self.index * here, (self.index + 1) * here, everyone)
        self._folder = None

    def name(self, index=None):
        """A worker in words, by default this one: `worker 1 (host:port)`."""
        return self.cluster.name(self.index if index is None else index)

    def wait(self):
        """Goes on when every worker is here."""
        self._sum(np.zeros(1, "float32"))

    def any(self, flag):
        """Whether the flag is set on any worker."""
        return bool(flag) if self.count == 1 else self._sum(np.array([flag], "float32"))[0] > 0

    def exchange(self, record):
        """What every worker gave, in order.

        Args:
            record: what JSON can hold.
        """
        if self.count == 1:
            return [record]
        text = np.frombuffer(json.dumps(record).encode(), "uint8")
        lengths = np.zeros(self.count, "float32")
        lengths[self.index] = len(text)
        lengths = self._sum(lengths).astype(int)
        table = np.zeros((self.count, lengths.max()), "float32")
        table[self.index, : len(text)] = text
        table = self._sum(table.ravel()).astype("uint8").reshape(table.shape)
        return [json.loads(row[:size].tobytes()) for row, size in zip(table, lengths, strict=True)]

    @contextlib.contextmanager
    def agree(self):
        """A block in which every worker checks what it has by itself; gives a dict, `{what: value}`, to be filled.

        What one raises in it ends all of them, with the worker's name; so does a value in which they differ. Nothing
        in the block may wait for other workers.

        Raises:
            ValueError: on all workers, where one of them raised, or they differ.
        """
        record = {}
        if self.count == 1:
            yield record
            return
        raised = None
        try:
            yield record
        except Exception as error:
            raised = error
        problem = None if raised is None else f"{type(raised).__name__}: {raised}"
        everyone = self.exchange(
            {"problem": problem, "record": {k: json.dumps(v) for k, v in record.items()}}
        )
        if raised is not None:
            raise raised
        for index, theirs in enumerate(everyone):
            if theirs["problem"]:
                raise ValueError(
                    f"{self.name(index)} cannot go on, so nobody can. It says: {theirs['problem']}"
                )
        for what, value in everyone[0]["record"].items():
            for index, theirs in enumerate(everyone):
                if theirs["record"].get(what) != value:
                    raise ValueError(
                        f"The workers differ in {what}. {self.name(0)} has {value}; {self.name(index)} has "
                        f"{theirs['record'].get(what)}. Give every worker the same, and start all of them again."
                    )

    @contextlib.contextmanager
    def together(self):
        """A block in which the workers compute together: one that is lost ends the others by a clear error.

        Raises:
            ConnectionError: when a worker no longer answers.
        """
        if self.count == 1:
            yield
            return
        import tensorflow as tf

        errors = tf.errors
        lost = (
            errors.UnavailableError,
            errors.AbortedError,
            errors.CancelledError,
            errors.DeadlineExceededError,
        )
        try:
            yield
        except lost as error:
            text = str(error)
            text = text[max(text.find("Collective ops"), 0) :][:400]
            tasks = {int(number) for number in re.findall(r"task:(\d+)", text)} - {self.index}
            names = [self.name(task) for task in sorted(tasks) if task < self.count]
            raise ConnectionError(
                f"{self.name()}: a worker was lost, by TensorFlow's words {' or '.join(names) or 'one of the others'}. "
                "See what the log of each says. End all workers and start all of them again: with resume they go on "
                f"from the chief's last checkpoint. TensorFlow says: {text}"
            ) from error

    def fetch(self, path):
        """Where this worker reads a file of the chief, as it is now: the path itself on the chief, else a private copy.

        Workers that hold the same at that path read it there, others get it sent. The path leads nowhere where the
        chief has no file.

        Args:
            path: the path on the chief.
        """
        path = Path(path)
        if self.count == 1:
            return path
        content = path.read_bytes() if path.is_file() else None
        everyone = self.exchange(None if content is None else [len(content), zlib.crc32(content)])
        if everyone[0] is not None and any(each != everyone[0] for each in everyone):
            content = self._send(content, everyone[0][0])
        if self.is_chief:
            return path
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="tftransfer-")
        copy = Path(self._folder.name) / path.name
        copy.unlink(missing_ok=True)
        if everyone[0] is not None:
            copy.write_bytes(content)
        return copy

    def _send(self, content, size):
        """The chief's bytes, everywhere."""
        received = bytearray()
        for start in range(0, size, _CHUNK):
            part = np.zeros(min(_CHUNK, size - start), "float32")
            if self.is_chief:
                part[:] = np.frombuffer(content, "uint8", len(part), start)
            received += self._sum(part).astype("uint8").tobytes()
        return received

    def close(self):
        """Removes private copies."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def distribute(self, batches):
        """Batches of this worker's own share, as `data.batches(..., share=workers.share)` makes them, for `fit`."""
        if self.count == 1:
            return batches
        return self.strategy.distribute_datasets_from_function(lambda _: batches)

    def _sum(self, values):
        """The sum over the workers of a float32 vector; exact for small whole numbers."""
        if self.count == 1:
            return values
        import tensorflow as tf

        if self.strategy not in _made:
            _made[self.strategy] = _summing(self.strategy, self.share[0])
        return _made[self.strategy](tf.constant(values)).numpy()


def _summing(strategy, first):
    import tensorflow as tf

    def replica(values):
        context = tf.distribute.get_replica_context()
        values = tf.where(context.replica_id_in_sync_group == first, values, tf.zeros_like(values))
        return context.all_reduce(tf.distribute.ReduceOp.SUM, values)

    @tf.function(input_signature=[tf.TensorSpec((None,), "float32")], autograph=False)
    def summed(values):
        return strategy.experimental_local_results(strategy.run(replica, args=(values,)))[0]

    return summed
