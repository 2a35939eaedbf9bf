"""Starts the workers of a run by Ray Train, on this machine or on a cluster, and starts them again after a death."""

import contextlib
import importlib
import importlib.util
import json
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path

import keras

__all__ = ["is_launched", "launch", "reports"]

_LOOPBACK = "127.0.0.1"
_inside = False  # whether this process is a worker that `launch` started


def launch(train_function, *, workers=2, config=None, use_gpu=False, storage=None, name=None, restarts=3):
    """Runs a function on several workers at once as a Ray Train job, and again from the last checkpoint after a death.

    The function is the program of each worker: it makes the strategy first, builds under it and calls `pretrain` or
    `finetune` with `save_to=` (or `resume=` a path) and `resume=True`, as on one machine. Ray starts the workers, tells
    each of its peers (`TF_CONFIG`), and after a death ends the rest and starts all of them again; what the chief saved
    is what they go on from, so the weights are those of an undisturbed run. Figures and checkpoints are reported to Ray
    after each epoch; the chief alone prints.

    Without a cluster Ray is started on this machine for the time of the run, and nothing leaves it. On a cluster
    (`ray start`, Kubernetes by KubeRay, a cloud by the cluster launcher, SLURM by `ray symmetric-run`) run the same
    line on its head node, or set `RAY_ADDRESS`: paths must then lie on storage that all machines share, or `storage`
    name a place in a bucket, from which a chief on another machine takes the last checkpoint.

    Without Ray, whatever sets `TF_CONFIG` serves as well. Vertex AI (custom jobs with several worker pools) and
    Kubeflow (TFJob) do it by themselves; under SLURM each task sets it before Python starts, the addresses from
    `SLURM_JOB_NODELIST` and the index from `SLURM_PROCID`. Each worker then runs the program itself, and the scheduler
    starts all of them again after a death: with `resume=True` they go on.

    Args:
        train_function: function of no argument, or of `config` where that is given.
        workers: how many; with `use_gpu` each has a GPU of its own.
        config: dict that each worker is handed.
        use_gpu: whether to place each worker on a GPU.
        storage: folder or bucket (`s3://…`) for what is reported; default `~/ray_results`.
        name: of the run in `storage`; default one with the time.
        restarts: how often to start again after a death; -1 without end.

    Returns:
        Ray's `Result`; `.metrics` are the last epoch's figures, `.checkpoint` what was reported last.

    Raises:
        ImportError: where Ray is not installed.
        ValueError: for settings that cannot be, and on JAX.

    Example:
        >>> import numpy as np, tftransfer as tt
        >>> def train():
        ...     strategy = tt.placement.strategy("auto")
        ...     with strategy.scope():
        ...         objective = tt.objectives.Autoencoder(tt.backbones.mlp((8,)))
        ...     x = np.random.default_rng(0).random((64, 8))
        ...     tt.pretrain(objective, x, epochs=2, batch_size=16, save_to="run/a.weights.h5", resume=True)
        >>> result = tt.placement.launch(train, workers=2)  # doctest: +SKIP
    """
    _check(train_function, workers, config, restarts)
    import ray
    from ray.train import CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig
    from ray.train.tensorflow import TensorflowTrainer

    variables = {"KERAS_BACKEND": keras.backend.backend(), "TF_CPP_MIN_LOG_LEVEL": "2"}
    variables["RAY_TRAIN_ENABLE_PRINT_PATCH"] = "0"  # else whatever the chief prints comes twice
    started = not ray.is_initialized()
    if started:
        _start(ray, workers)
    try:
        trainer = TensorflowTrainer(
            _Worker(train_function, os.getcwd()),
            train_loop_config={"given": config},
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=use_gpu),
            run_config=RunConfig(
                name=name,
                storage_path=None if storage is None else _absolute(storage),
                failure_config=FailureConfig(max_failures=restarts),
                checkpoint_config=CheckpointConfig(num_to_keep=1),
                worker_runtime_env={"env_vars": variables},
                logging_config=LoggingConfig(log_level="ERROR"),
            ),
        )
        return trainer.fit()
    finally:
        if started:
            ray.shutdown()


def _check(train_function, workers, config, restarts):
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "launch runs workers of TensorFlow. On JAX one process drives all chips of its machine without a launcher "
            "(tftransfer.placement.strategy('auto')); several machines are not supported there. Set KERAS_BACKEND="
            "tensorflow."
        )
    if not callable(train_function):
        raise ValueError(f"launch takes the function that each worker runs; received {train_function!r}.")
    for what, value, least in (("workers", workers, 1), ("restarts", restarts, -1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{what} is a whole number from {least} up; received {value!r}.")
    if config is not None and not isinstance(config, dict):
        raise ValueError(
            f"config is a dict that the function is handed, or None; received {type(config).__name__}."
        )
    if importlib.util.find_spec("ray") is None:
        raise ImportError(
            'launch needs Ray Train, which is not installed: pip install "tftransfer[ray]". Without it, let each '
            "worker run the program itself, with the environment variable TF_CONFIG naming all of them."
        )


def _start(ray, workers):
    """Joins the cluster that is there, or starts Ray on this machine alone, where nobody else can reach it."""
    try:
        ray.init(address="auto", logging_level="ERROR")
    except ConnectionError:
        from ray._private import ray_constants

        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # for Ray's own processes: the loopback device
        ray_constants.ENABLE_RAY_CLUSTER = False  # and for this one, which has read that variable
        cores = max(os.cpu_count() or 1, workers)
        ray.init(address="local", num_cpus=cores, include_dashboard=False, logging_level="ERROR")


def _absolute(storage):
    return storage if "://" in str(storage) else os.path.abspath(storage)


class _Worker:
    """What Ray runs on each worker: the user's function, in the folder that `launch` was called in."""

    def __init__(self, function, folder):
        self.function, self.folder = function, folder

    def __call__(self, config):
        importlib.import_module(
            "tftransfer.placement.launch"
        )._inside = True  # by its name, not in a copy of it
        if os.path.isdir(self.folder):
            os.chdir(self.folder)
            sys.path.insert(0, self.folder)
        for name in ("tensorflow", "absl"):  # Ray lets everything through, from every worker
            logging.getLogger(name).setLevel(logging.ERROR)
        _stay_on_this_machine()
        given = config["given"]
        self.function() if given is None else self.function(given)


def _stay_on_this_machine():
    """Where all workers are on one machine, they speak by its inner address: Ray gives the outward one."""
    config = json.loads(os.environ["TF_CONFIG"])
    addresses = config["cluster"]["worker"]
    if len({address.rpartition(":")[0] for address in addresses}) == 1:
        config["cluster"]["worker"] = [f"{_LOOPBACK}:{address.rpartition(':')[2]}" for address in addresses]
        os.environ["TF_CONFIG"] = json.dumps(config)


def is_launched():
    """Whether this process is a worker that `launch` started."""
    return _inside


def reports(paths=(), *, workers=None, resume=True):
    """Callbacks that tell Ray of each epoch, in a worker that `launch` started; none elsewhere.

    Args:
        paths: the files that a run goes on from. Where the chief has none of them, it first takes what was last
            reported to Ray, by a chief on another machine.
        workers: the `Workers`; by default this process alone.
        resume: whether the run goes on from those files.
    """
    if not _inside:
        return []
    paths = [Path(path) for path in paths]
    if resume and (workers is None or workers.is_chief):
        _take_up(paths)
    return [_Report(paths, workers is None or workers.is_chief)]


def _take_up(paths):
    import ray.train

    last = ray.train.get_checkpoint()
    if last is None or any(path.exists() for path in paths):
        return
    with last.as_directory() as folder:
        for path in paths:
            if (Path(folder) / path.name).exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(Path(folder) / path.name, path)


class _Report(keras.callbacks.Callback):
    """Reports the figures of each epoch to Ray, and the files of the chief whenever they changed."""

    def __init__(self, paths, is_chief):
        super().__init__()
        self.paths, self.is_chief = paths, is_chief
        self._told = None

    def on_epoch_end(self, epoch, logs=None):
        import ray.train

        figures = {"epoch": epoch, **{name: float(value) for name, value in (logs or {}).items()}}
        with self._checkpoint() as checkpoint:
            ray.train.report(figures, checkpoint=checkpoint)

    @contextlib.contextmanager
    def _checkpoint(self):
        present = [path for path in self.paths if self.is_chief and path.exists()]
        now = [(path.name, path.stat().st_mtime_ns) for path in present]
        if not present or now == self._told:
            yield None
            return
        import ray.train

        self._told = now
        with tempfile.TemporaryDirectory() as folder:
            for path in present:
                shutil.copy(path, folder)
            yield ray.train.Checkpoint.from_directory(folder)
