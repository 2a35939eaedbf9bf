"""The same losses as Lightly, and how fast: tftransfer and PyTorch + Lightly side by side on one machine.

    python benchmarks/beside_lightly.py losses --peer-python PYTHON [--data FOLDER] [--json FILE]
    python benchmarks/beside_lightly.py speed --peer-python PYTHON [--turns 5] [--json FILE]

`PYTHON` is the interpreter of an environment that has torch and lightly (`lightly_peer.py` runs in it).

losses  SimCLR, BarlowTwins, VICReg and BYOL on a small residual network: the same initial weights (copied over), the
        same views (made once, by `layers.RandomView`), in the same order, SGD with momentum; 50 steps. The first losses
        have to agree within 1e-4 of their size, the curves within 1%.
speed   a training step, augmentation included: SimCLR on the small CNN and on ResNet-18 with the 32-pixel stem, and the
        masked autoencoder of a ViT (6 blocks of 192, patches of 4 pixels, 75% hidden). Both sides stand ready in
        processes of their own and take turns; a figure is the quotient of PyTorch's and our time within a turn.
        PyTorch waits passively (OMP_WAIT_POLICY=PASSIVE), and runs in both layouts; the faster one counts as well.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from turns import QUIET, epochs_in_turn, say_ratios, take_turns

PEER = Path(__file__).with_name("lightly_peer.py")
STEPS, BATCH = 50, 64
BLOCKS, MOMENTUM = (1, 1), 0.9
CASES = {  # what our objective and Lightly's loss are told; the learning rate, less where the loss is in the hundreds
    "SimCLR": ({"temperature": 0.5}, {"temperature": 0.5}, 5e-3),
    "BarlowTwins": ({"projection_width": 256}, {"lambda_param": 0.0051}, 3e-5),
    "VICReg": ({"projection_width": 256}, {}, 2e-3),
    "BYOL": ({"momentum": 0.99}, {}, 1e-2),
}
WORKS = {"cnn": (128, 10, 1.25), "resnet18": (64, 3, 1.5), "mae": (128, 5, 1.3)}  # batch, steps a turn, bar


def pictures(folder, count):
    """Real pictures where they are at hand, else noise with structure; (count, 32, 32, 3) in [0, 1]."""
    import numpy as np
    import real_data

    if folder:
        return real_data.zipped(Path(folder), "cifar10_jpg", "train").x[:count].astype("float32") / 255
    small = np.random.default_rng(0).random((count, 8, 8, 3), "float32")
    return small.repeat(4, 1).repeat(4, 2)


def widths(projector):
    return [layer.units for layer in projector.layers if hasattr(layer, "units")]


def arrays(model, prefix):
    """Weights by the names that `lightly_peer.copied` reads."""
    import keras

    found = {}
    for layer in model.layers:
        for variable in layer.weights:
            found[f"{prefix}|{layer.name}|{variable.name}"] = keras.ops.convert_to_numpy(variable)
    return found


def our_curve(name, x, path):
    """Writes what the peer needs, trains, and gives our losses."""
    import keras
    import numpy as np

    import tftransfer as tt
    from tftransfer.backbones.residual import residual_network

    keras.utils.set_random_seed(0)
    backbone = residual_network(x.shape[1:], blocks=BLOCKS, bottleneck=False, stem="32", name="small_resnet")
    ours, theirs, rate = CASES[name]
    objective = getattr(tt.objectives, name)(backbone, **ours)
    view = tt.layers.RandomView(seed=3)
    order = np.random.default_rng(0).permutation(len(x))
    views = np.empty((STEPS, 2, BATCH, *x.shape[1:]), "float32")
    for step in range(STEPS):
        rows = order[(np.arange(BATCH) + step * BATCH) % len(x)]
        for i in range(2):
            views[step, i] = keras.ops.convert_to_numpy(view(x[rows]))
    settings = {
        "objective": name,
        "blocks": BLOCKS,
        "projector": widths(objective.projector),
        "predictor": widths(objective.predictor) if name == "BYOL" else None,
        "teacher": ours.get("momentum"),
        "loss": theirs,
        "rate": rate,
        "momentum": MOMENTUM,
    }
    weights = arrays(backbone, "backbone") | arrays(objective.projector, "projector")
    if name == "BYOL":
        weights |= arrays(objective.predictor, "predictor")
    np.savez(path, settings=json.dumps(settings), views=views, **weights)
    objective.compile(keras.optimizers.SGD(rate, momentum=MOMENTUM))
    curve = []
    for pair in views:
        objective.reset_metrics()
        logs = objective.train_on_batch({"view_1": pair[0], "view_2": pair[1]}, return_dict=True)
        curve.append(float(logs["loss"]))
    return curve


def losses(options):
    x, found = pictures(options.data, STEPS * BATCH), {}
    for name in options.only or CASES:
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/case.npz"
            ours = our_curve(name, x, path)
            said = subprocess.run(
                [options.peer_python, PEER, "losses", path],
                env={**os.environ, **QUIET},
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            ).stdout
        theirs = json.loads(said.splitlines()[-1])
        apart = [abs(a - b) / abs(b) for a, b in zip(ours, theirs, strict=True)]
        found[name] = {"ours": ours, "lightly": theirs, "first": apart[0], "largest": max(apart)}
        print(
            f"{name:12} first {ours[0]:.6f} / {theirs[0]:.6f} ({apart[0]:.1e}); last {ours[-1]:.5f} / "
            f"{theirs[-1]:.5f}; largest difference in {STEPS} steps {max(apart):.2%}",
            flush=True,
        )
    return found


def our_steps(work, count, batch):
    """Our side of a turn: the compiled step, as `pretrain` runs it."""
    import keras
    import numpy as np

    import tftransfer as tt

    imported = time.process_time()
    keras.utils.set_random_seed(0)
    if work == "mae":
        backbone = tt.backbones.vit((32, 32, 3), patch_size=4, width=192, depth=6, num_heads=3)
        objective = tt.objectives.MaskedAutoencoder(backbone)
    else:
        backbone = getattr(tt.backbones, work)((32, 32, 3))
        objective = tt.objectives.SimCLR(backbone)
    x = np.random.default_rng(0).random((batch * count, 32, 32, 3), "float32")
    clock = epochs_in_turn(imported, count)
    tt.pretrain(objective, x, epochs=10**6, batch_size=batch, callbacks=[clock], verbose=0)


def speed(options):
    found = {}
    for work in options.only or WORKS:
        batch, count, bar = WORKS[work]
        sides = {
            "tftransfer": [sys.executable, __file__, "our-steps", "--work", work],
            "lightly": [options.peer_python, PEER, "steps", work, count, batch],
            "lightly, channels last": [
                options.peer_python,
                PEER,
                "steps",
                work,
                count,
                batch,
                "channels_last",
            ],
        }
        if work == "mae":
            sides.pop("lightly, channels last")
        first, turns = take_turns(sides, options.turns)
        found[work] = {"turns": turns, "first": first, "bar": bar}
        say_ratios(work, "tftransfer", turns, bar)
        said = ", ".join(f"{side} {says['first_step_cpu']:.1f}" for side, says in first.items())
        print(f"{work:9} CPU-seconds to the first step, imports left out: {said}", flush=True)
    return found


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["losses", "speed", "our-steps"])
    parser.add_argument("--peer-python")
    parser.add_argument("--data", help="folder of the original data sets; made-up pictures without it")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--work")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.what == "our-steps":
        batch, count, _ = WORKS[options.work]
        our_steps(options.work, count, batch)
        return
    if not options.peer_python:
        parser.error("--peer-python names the interpreter of an environment with torch and lightly")
    found = losses(options) if options.what == "losses" else speed(options)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
