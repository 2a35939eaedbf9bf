"""What pretraining costs in memory, up to its first step, and for its views.

    python benchmarks/pretraining_costs.py [memory first views remat] [--turns 5] [--json FILE]

memory  peak resident memory of SimCLR on pictures of 32 pixels at batches up to 1,024, small CNN and ResNet-18, whole
        process, TensorFlow's own 0.4 GB included; also in `mixed_bfloat16`, and with `layers.rematerialize`.
first   CPU-seconds from the imports to the end of the first step, in a process of its own: the masked autoencoder of a
        ViT of 6 and of 12 blocks of 192 (ViT-tiny), and SimCLR on ResNet-18.
views   a step of SimCLR whose views are made inside the compiled step, made ahead in `tf.data` (`data.two_views`), and
        whose views are no work at all (the pictures themselves): seconds in turn, quotients within a turn.
remat   a step of SimCLR on ResNet-18, batch 64, with `layers.rematerialize` and without, in turn as well.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from turns import say_ratios, timed

MEMORY = [
    ("cnn", 256),
    ("cnn", 1024),
    ("resnet18", 256),
    ("resnet18", 1024),
    ("resnet18 mixed_bfloat16", 1024),
    ("resnet18 rematerialized", 1024),
]
FIRST = ["vit 6 masked autoencoder", "vit 12 masked autoencoder", "resnet18 SimCLR"]


def child(*arguments):
    said = subprocess.run(
        [sys.executable, __file__, "--child", *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )
    lines = [line for line in said.stdout.splitlines() if line.startswith("{")]
    return json.loads(lines[-1]) if lines and not said.returncode else {"failed": said.returncode}


def objective_of(name, batch):
    import keras
    import numpy as np

    import tftransfer as tt

    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).random((2 * batch, 32, 32, 3), "float32")
    if name.startswith("vit"):
        vit = tt.backbones.vit((32, 32, 3), patch_size=4, depth=int(name.split()[1]))
        return tt.objectives.MaskedAutoencoder(vit), x
    name, _, policy = name.partition(" ")
    if policy.startswith("mixed"):
        keras.config.set_dtype_policy(policy)
    backbone = getattr(tt.backbones, name)((32, 32, 3))
    if policy == "rematerialized":
        tt.layers.rematerialize(backbone)
    return tt.objectives.SimCLR(backbone, temperature=0.5), x


def memory_child(name, batch):
    import tftransfer as tt

    objective, x = objective_of(name, batch)
    begun = time.process_time()
    tt.pretrain(objective, x, epochs=2, batch_size=batch, verbose=0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux
    print(json.dumps({"GB": peak, "cpu": time.process_time() - begun}))


def first_child(name):
    import keras

    import tftransfer as tt

    objective, x = objective_of(name, 64)
    begun = time.process_time()
    callback = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: (
            print(json.dumps({"cpu": time.process_time() - begun}), flush=True) or os._exit(0)
        )
    )
    tt.pretrain(objective, x, epochs=1, batch_size=64, callbacks=[callback], verbose=0)


def batches_of(x, batch):
    import tftransfer as tt

    return tt.data.batches(x, batch_size=batch, drop_remainder=True, repeat=True, labels=False)


def in_turn(title, ways, rounds, base, steps=8):
    """Seconds a step of `way → (compiled objective, batches)`, which take turns; says quotients over `base`."""

    def run(way, count):
        objective, batches = ways[way]
        objective.fit(batches, steps_per_epoch=count, shuffle=False, verbose=0)

    for way in ways:
        run(way, 2)  # traces
    turned = [{way: timed(partial(run, way, steps), steps) for way in ways} for _ in range(rounds)]
    say_ratios(title, base, turned)
    return turned


def views(turns):
    """Seconds a step with views in the step, in tf.data and with none."""
    import keras
    import numpy as np

    import tftransfer as tt

    found = {}
    for name, batch in (("cnn", 128), ("resnet18", 64)):
        ways = {}
        x = np.random.default_rng(0).random((8 * batch, 32, 32, 3), "float32")
        for way in ("in the step", "in tf.data", "none"):
            keras.utils.set_random_seed(0)
            backbone = getattr(tt.backbones, name)((32, 32, 3))
            view = keras.layers.Identity() if way == "none" else tt.layers.RandomView()
            objective = tt.objectives.SimCLR(backbone, augmentation=view)
            objective.compile(keras.optimizers.AdamW(1e-3))
            batches = batches_of(x, batch)
            if way == "in tf.data":
                batches = tt.data.two_views(x, view, batch_size=batch, drop_remainder=True, repeat=True)
            ways[way] = objective, batches
        found[name] = in_turn(name, ways, turns, base="none")
    return found


def remat(turns):
    """Seconds a step of ResNet-18 with the inside of its blocks computed again, and kept."""
    import keras

    ways = {}
    for way in ("kept", "rematerialized"):
        objective, x = objective_of(f"resnet18 {way}", 64)
        objective.compile(keras.optimizers.AdamW(1e-3))
        ways[way] = objective, batches_of(x, 64)
    return in_turn("resnet18", ways, turns, base="kept", steps=4)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", default=["memory", "first", "views", "remat"])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, *batch = options.child
        memory_child(name, int(batch[0])) if batch else first_child(name)
        return
    found = {}
    if "memory" in options.what:
        for name, batch in MEMORY:
            found[f"memory {name} {batch}"] = answer = child(name, batch)
            print(f"SimCLR, {name}, batch {batch}: {answer}", flush=True)
    if "first" in options.what:
        for name in FIRST:
            found[f"first {name}"] = answers = [child(name) for _ in range(3)]
            print(
                f"first step, {name}: {sorted(round(a['cpu'], 1) for a in answers)} CPU-seconds", flush=True
            )
    if "views" in options.what:
        found["views"] = views(options.turns)
    if "remat" in options.what:
        found["remat"] = remat(options.turns)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
