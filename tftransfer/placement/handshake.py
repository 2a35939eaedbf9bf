"""The workers of a run meet before TensorFlow connects them, so that what is wrong is said and nothing waits for ever.

TensorFlow by itself waits an hour for a worker that never comes up, and lets different versions train together.
"""

import contextlib
import errno
import json
import platform
import socket
import time

import keras

__all__ = ["meet", "versions"]

_LIMIT = 65_536  # bytes of a message
_PAUSE_S = 0.2
_GRACE_S = 10.0


def versions():
    """What must be the same on every worker: `{"tftransfer": ..., "keras": ..., "tensorflow": ..., "python": ...}`."""
    from importlib import metadata

    import tensorflow as tf

    found = {"keras": keras.__version__, "tensorflow": tf.__version__}
    with contextlib.suppress(metadata.PackageNotFoundError):
        found["tftransfer"] = metadata.version("tftransfer")
    return {**found, "python": ".".join(platform.python_version_tuple()[:2])}


def meet(cluster, *, timeout_s=300.0, problem=None, ours=None):
    """Waits until every worker is there, of the same versions; the chief's port serves for it, and is then free again.

    Args:
        cluster: the `Cluster`.
        timeout_s: seconds to wait for the slowest worker.
        problem: why this worker cannot go on, for all to know; None if it can.
        ours: versions of this process; by default `versions()`.

    Raises:
        ValueError: on every worker that can be reached, with the worker and the cause: one that did not come up, a
            port that is taken, versions that differ, two processes that say that they are the same worker.
    """
    if problem is not None:
        problem = f"{cluster.name(cluster.index)}: {problem}"
    ours = {"index": cluster.index, "versions": versions() if ours is None else ours, "problem": problem}
    ends = time.monotonic() + timeout_s
    if cluster.index == 0:
        with _listening(cluster) as server:
            _receive_all(server, cluster, ours, ends, timeout_s)
        return
    try:
        _listening(cluster).close()
    except ValueError as error:
        ours["problem"] = ours["problem"] or str(error)
    answer = _ask(cluster, ours, ends, timeout_s)
    if ours["problem"] or answer:
        raise ValueError(ours["problem"] or answer)


def _listening(cluster):
    """A socket at this worker's own port."""
    host, _, port = cluster.addresses[cluster.index].rpartition(":")
    try:
        if host in ("127.0.0.1", "localhost"):
            return socket.create_server(("127.0.0.1", int(port)))
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", int(port)), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", int(port)))
    except OSError as error:
        cause = "another process uses it" if error.errno == errno.EADDRINUSE else error.strerror or error
        raise ValueError(
            f"{cluster.name(cluster.index)} cannot listen at port {port} of {socket.gethostname()}: {cause}. Give "
            "TF_CONFIG a free port, or end what an earlier run left behind."
        ) from error
    except ValueError as error:
        raise ValueError(
            f"TF_CONFIG must name workers as host:port. Received: {cluster.addresses[cluster.index]!r}."
        ) from error


def _receive_all(server, cluster, ours, ends, timeout_s):
    """The chief's part: hears every worker, and tells all of them what is wrong, or that nothing is."""
    present, problem = {}, ours["problem"]
    if problem:  # for those who come now
        ends = min(ends, time.monotonic() + _GRACE_S)
    with contextlib.ExitStack() as stack:
        while len(present) < len(cluster.addresses) - 1 and time.monotonic() < ends:
            server.settimeout(max(ends - time.monotonic(), 0.01))
            try:
                peer = stack.enter_context(server.accept()[0])
                peer.settimeout(5.0)
                theirs = _read(peer)
                index = int(theirs["index"])
            except (OSError, ValueError, KeyError):  # nobody yet, or somebody who is none of us
                continue
            if index in present or not 0 < index < len(cluster.addresses):
                problem = (
                    f"Two processes say that they are worker {index}. Number them in TF_CONFIG from 0 up."
                )
            present[index] = peer
            problem = problem or theirs.get("problem") or _unlike(cluster, ours, theirs)
            if problem:
                ends = min(ends, time.monotonic() + _GRACE_S)
        problem = problem or _missing(cluster, present, timeout_s)
        for peer in present.values():
            with contextlib.suppress(OSError):
                peer.sendall(json.dumps({"problem": problem}).encode() + b"\n")
                peer.recv(1)  # they hang up first, which leaves the port free
    if problem:
        raise ValueError(problem)


def _missing(cluster, present, timeout_s):
    absent = [cluster.name(i) for i in range(1, len(cluster.addresses)) if i not in present]
    if not absent:
        return None
    return (
        f"{', '.join(absent)} did not come up within {timeout_s:g} seconds; {len(present) + 1} of "
        f"{len(cluster.addresses)} workers are there. See what that machine or its log says, whether its address in "
        "TF_CONFIG is right and reaches the chief, and start all workers again."
    )


def _unlike(cluster, ours, theirs):
    known = theirs.get("versions") or {}
    names = [name for name, version in ours["versions"].items() if known.get(name) != version]
    if not names:
        return None
    differing = [f"{name} {known.get(name)} (the chief: {ours['versions'][name]})" for name in names]
    return f"{cluster.name(theirs['index'])} runs {', '.join(differing)}. Install the same versions on every worker."


def _ask(cluster, ours, ends, timeout_s):
    """A worker's part: tells the chief who it is, and returns what the chief says is wrong, or None."""
    host, _, port = cluster.addresses[0].rpartition(":")
    cause = "no answer"
    while True:
        left = ends - time.monotonic()
        if left <= 0:
            return (
                f"{cluster.name(0)} could not be reached by {cluster.name(cluster.index)} within {timeout_s:g} "
                f"seconds: {cause}. See what its log says and whether its address in TF_CONFIG is right. If the other "
                "workers are still training, end all of them: a group starts together."
            )
        try:
            with socket.create_connection((host, int(port)), timeout=max(min(left, 5.0), 0.1)) as chief:
                chief.sendall(json.dumps(ours).encode() + b"\n")
                chief.settimeout(
                    max(ends - time.monotonic() + 2.0, 0.1)
                )  # the chief speaks when its time is over
                return _read(chief).get("problem")
        except TimeoutError:
            cause = "something listens there, but it is no worker that starts"
        except (OSError, ValueError) as error:
            cause = getattr(error, "strerror", None) or "something else listens there"
        time.sleep(_PAUSE_S)


def _read(peer):
    text = b""
    while not text.endswith(b"\n"):
        part = peer.recv(4096)
        if not part or len(text) > _LIMIT:
            raise ValueError("not a message of ours")
        text += part
    message = json.loads(text)
    if not isinstance(message, dict):
        raise ValueError("not a message of ours")
    return message
