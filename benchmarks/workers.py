"""Two workers of one core each against one process of one core: examples per second of masked autoencoding.

    python benchmarks/workers.py --turns 5

A vision transformer of the tiny size (width 192, 12 blocks, 3 heads) on pictures of 32 pixels in patches of 4, the
same global batch both ways, `tt.pretrain` as it is. The ways take turns, each process pinned to its core (`taskset`),
and each turn gives one ratio; the first epoch, in which TensorFlow traces, is not counted. Gradients go through
127.0.0.1. Needs two free cores and Linux; what else runs on the machine shows in the spread.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main():
    options = parse()
    if options.out is not None:
        return worker(options)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit(f"Two cores are needed; this process may use {cores}.")
    ratios = []
    for turn in range(options.turns):
        ways = [("one", cores[:1]), ("two", cores[:2])]
        rates = dict(run(name, pinned, options) for name, pinned in (ways if turn % 2 == 0 else ways[::-1]))
        ratios.append(rates["two"] / rates["one"])
        print(
            f"turn {turn + 1}: {rates['one']:.1f} and {rates['two']:.1f} examples/s, ratio {ratios[-1]:.3f}",
            flush=True,
        )
    middle = statistics.median(ratios)
    print(
        f"two workers / one process: {middle:.2f} ({min(ratios):.2f} to {max(ratios):.2f}), {options.turns} turns"
    )
    return None


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64, help="examples a step, over all workers")
    parser.add_argument("--steps", type=int, default=20, help="steps that are measured")
    parser.add_argument("--depth", type=int, default=12, help="blocks of the transformer")
    parser.add_argument("--out", help=argparse.SUPPRESS)  # a worker's result
    return parser.parse_args()


def run(name, cores, options):
    """`(name, examples a second)` of one process for each core."""
    ports = []
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in cores]
    for each in sockets:
        ports.append(each.getsockname()[1])
        each.close()
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    with tempfile.TemporaryDirectory() as folder:
        processes = []
        for index, core in enumerate(cores):
            environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
            environment.pop("TF_CONFIG", None)
            if len(cores) > 1:
                task = {"type": "worker", "index": index}
                environment["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
            command = [
                "taskset",
                "-c",
                str(core),
                sys.executable,
                __file__,
                "--out",
                f"{folder}/{index}.json",
            ]
            command += [
                "--batch",
                str(options.batch),
                "--steps",
                str(options.steps),
                "--depth",
                str(options.depth),
            ]
            processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))
        codes = [process.wait() for process in processes]
        if any(codes):
            raise SystemExit(f"A process failed: {codes}.")
        seconds = [json.loads(Path(folder, f"{index}.json").read_text()) for index in range(len(cores))]
    return name, options.batch * options.steps / max(seconds)


def worker(options):
    import tftransfer as tt

    strategy = tt.placement.strategy("auto", verbose=False)
    import keras
    import numpy as np

    class Clock(keras.callbacks.Callback):
        """Seconds from the second epoch on."""

        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.begun = time.monotonic()

        def on_train_end(self, logs=None):
            self.seconds = time.monotonic() - self.begun

    keras.utils.set_random_seed(0)
    with strategy.scope():
        backbone = tt.backbones.vit((32, 32, 3), patch_size=4, width=192, depth=options.depth, num_heads=3)
        objective = tt.objectives.MaskedAutoencoder(backbone)
    epochs, steps = 3, options.steps // 2
    pictures = np.random.default_rng(0).integers(0, 256, (options.batch * steps, 32, 32, 3), dtype="uint8")
    clock = Clock()
    tt.pretrain(objective, pictures, epochs=epochs, batch_size=options.batch, callbacks=[clock], verbose=0)
    Path(options.out).write_text(json.dumps(clock.seconds))


if __name__ == "__main__":
    main()
