"""The command line on several workers: as a Ray Train job, or in each worker that `TF_CONFIG` names."""

import contextlib
import os

__all__ = ["launch_command", "speaking"]


def launch_command(arguments, workers):
    """Runs a command on each of several workers of a Ray Train job; it goes on after a death.

    Args:
        arguments: those of the command line, `--workers` among them.
        workers: how many.

    Raises:
        ValueError: when the command failed on the workers, with what they said.
        ImportError: without Ray.
    """
    from tftransfer.placement import launch

    if any(word.partition("=")[0] == "--pictures" for word in arguments):
        raise ValueError(
            "--pictures and --workers do not go together. Make the pictures of the saved file afterwards."
        )
    kept, words = [], iter(arguments)
    for word in words:
        if word == "--workers":
            next(words)
        elif not word.startswith("--workers="):
            kept.append(word)
    kept += [] if "--resume" in kept else ["--resume"]
    try:
        launch(_command, workers=workers, config={"arguments": kept})
    except RuntimeError as error:
        raise ValueError(f"The command failed on the workers: {str(error)[:2000]}") from error


def _command(config):
    from tftransfer.__main__ import main

    if main(config["arguments"]):
        raise ValueError(f"tftransfer {' '.join(config['arguments'])} did not succeed; see above.")


@contextlib.contextmanager
def speaking():
    """A block in which nothing is printed, unless this process is alone or the chief of several workers."""
    from tftransfer.placement.cluster import cluster_of_tf_config

    cluster = cluster_of_tf_config()
    if cluster is None or cluster.index == 0:
        yield
        return
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
        yield
