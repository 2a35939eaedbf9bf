"""Choosing a `tf.distribute` strategy by what the machine has. Imported on the TensorFlow backend only."""

import glob
import importlib.util
import os
import warnings

import tensorflow as tf

from tftransfer.placement.cluster import cluster_of_tf_config, workers_of_tf_config
from tftransfer.placement.handshake import meet

__all__ = ["choose", "describe"]

NAMES = ("auto", "cpu", "cpu:N", "gpu", "gpu:N", "mirrored", "multi_worker", "tpu")


def choose(name, made, timeout_s=300.0):
    """The strategy for a name or object, and why: `(strategy, why)`. `made` maps device sets to known strategies."""
    if isinstance(name, tf.distribute.Strategy):
        return _registered(name, made), "given as an object"
    if not isinstance(name, str):
        raise ValueError(
            f"strategy takes a name or a tf.distribute.Strategy. Received: {name!r} of type {type(name).__name__}. "
            f"Names: {', '.join(NAMES)}."
        )
    asked = f"asked for '{name}'"
    if name == "auto":
        return _automatic(made, timeout_s)
    if name == "multi_worker":
        return _multi_worker(made, timeout_s), asked
    if name == "tpu":
        return _tpu(made), asked
    if name == "mirrored":
        return _mirrored(made), asked
    kind, _, number = name.partition(":")
    if kind in ("cpu", "gpu") and (not number or number.isdigit()) and not name.endswith(":"):
        return _one_device(kind.upper(), int(number or 0), made), asked
    names = ", ".join(NAMES)
    raise ValueError(f"Unknown strategy. Received: {name!r}. Names: {names}; here: {_available()}.")


def describe(strategy):
    """The devices of a strategy in words: `CPU:0, CPU:1`."""
    devices = [d.rpartition("/device:")[2] for d in devices_of(strategy)]
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        resolver = strategy.cluster_resolver
        return f"{', '.join(devices)} of worker {resolver.task_id} and its peers"
    return ", ".join(devices)


def devices_of(strategy):
    try:
        return tuple(strategy.extended.worker_devices)
    except RuntimeError:  # the default strategy does not say: TensorFlow places by itself
        return (f"/device:{_default_kind()}:0",)


def _default_kind():
    return "GPU" if tf.config.list_logical_devices("GPU") else "CPU"


def _available():
    found = [d.name.rpartition("/device:")[2].lower() for d in tf.config.list_logical_devices()]
    return ", ".join(f"'{d}'" for d in found if d.startswith(("cpu", "gpu", "tpu:")))


def _automatic(made, timeout_s):
    if tf.distribute.has_strategy():
        return tf.distribute.get_strategy(), "auto: its scope is open"
    workers = workers_of_tf_config()
    if workers > 1:
        return _multi_worker(made, timeout_s), f"auto: TF_CONFIG names {workers} workers"
    if _tpu_in_sight():
        try:
            return _tpu(made), "auto: a TPU"
        except ValueError as error:
            warnings.warn(f"A TPU seems to be here, but TensorFlow cannot use it: {error}", stacklevel=4)
    gpus = len(tf.config.list_logical_devices("GPU"))
    if gpus > 1:
        return _mirrored(made), f"auto: {gpus} GPUs"
    if gpus == 1:
        return _one_device("GPU", 0, made), "auto: one GPU"
    return _one_device("CPU", 0, made), "auto: no accelerator"


def _registered(strategy, made):
    if isinstance(strategy, tf.distribute.experimental.ParameterServerStrategy):
        raise ValueError(
            "ParameterServerStrategy updates replicas one after another, so results depend on their timing. "
            "Use 'multi_worker' (tf.distribute.MultiWorkerMirroredStrategy)."
        )
    known = made.setdefault(devices_of(strategy), strategy)
    if known is not strategy and strategy.num_replicas_in_sync > 1:
        warnings.warn(
            f"A second strategy over {describe(strategy)} in one process: TensorFlow fails when models of both "
            "train. Use tftransfer.placement.strategy(...) everywhere: it gives the first one again.",
            stacklevel=4,
        )
    return strategy


def _one_device(kind, number, made):
    present = tf.config.list_logical_devices(kind)
    if number >= len(present):
        asked = f"{kind.lower()}:{number}"
        raise ValueError(f"There is no {asked} here. Received: '{asked}'; here: {_available()}.")
    if (kind, number) == (_default_kind(), 0):
        if tf.distribute.has_strategy():
            raise ValueError(
                f"strategy('{kind.lower()}') was called inside the scope of {tf.distribute.get_strategy()}. "
                "Call it outside, or use strategy('auto'), which gives the one whose scope is open."
            )
        return tf.distribute.get_strategy()  # the default: TensorFlow places by itself, at no cost
    key = (present[number].name,)
    if key not in made:
        made[key] = tf.distribute.OneDeviceStrategy(f"/{kind}:{number}")
    return made[key]


def _mirrored(made):
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) == 1:
        return _one_device(devices[0].device_type, 0, made)
    names = [d.name.rpartition("/device:")[2] for d in devices]
    key = tuple(f"/job:localhost/replica:0/task:0/device:{n}" for n in names)
    if key not in made:
        made[key] = tf.distribute.MirroredStrategy(names)
    return made[key]


def _multi_worker(made, timeout_s):
    cluster = cluster_of_tf_config()
    if cluster is None:
        raise ValueError(
            "'multi_worker' needs the environment variable TF_CONFIG, which tells each process of its peers (Ray "
            "Train, Vertex AI, Kubeflow and SLURM launchers set it). Received: none. On one machine use 'mirrored'."
        )
    if "multi_worker" not in made:
        late = (
            "The workers must be connected before TensorFlow does anything else. Call "
            "tftransfer.placement.strategy('multi_worker') first in the program."
        )
        if len(cluster.addresses) > 1:
            meet(cluster, timeout_s=timeout_s, problem=late if _is_at_work() else None)
        try:
            made["multi_worker"] = tf.distribute.MultiWorkerMirroredStrategy()
        except RuntimeError as error:
            raise ValueError(f"{late} TensorFlow says: {error}") from error
    return made["multi_worker"]


def _is_at_work():
    """Whether TensorFlow has been used in this process, after which it connects no more."""
    try:
        from tensorflow.python.eager import context
    except ImportError:  # it is not public; then the workers learn it a little later
        return False
    return bool(getattr(context.context(), "_initialized", False))


def _tpu_in_sight():
    named = any(os.environ.get(n) for n in ("TPU_NAME", "COLAB_TPU_ADDR", "TPU_ACCELERATOR_TYPE"))
    return (named or bool(glob.glob("/dev/accel*"))) and importlib.util.find_spec("libtpu") is not None


def _tpu(made):
    if "tpu" not in made:
        try:
            name = os.environ.get("TPU_NAME", "local")
            resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(name)
            made["tpu"] = tf.distribute.TPUStrategy(resolver)
        except Exception as error:  # TensorFlow raises many kinds here, some of them internal
            raise ValueError(
                f"TensorFlow found no TPU here ({type(error).__name__}: {str(error)[:200]}). It needs the package "
                "tensorflow-tpu; Colab's TPU machines ship JAX instead: set KERAS_BACKEND=jax and use 'auto'."
            ) from error
    return made["tpu"]
