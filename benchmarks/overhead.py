"""What `pretrain` and `placement.strategy("auto")` cost beside the same model compiled and fitted by hand.

    python benchmarks/overhead.py --turns 6

Three ways to train the same masked autoencoder (a small ViT) on the same pictures, interleaved in one process: by hand
(`compile` with the same optimizer and `fit` on the same batches, no strategy), `pretrain` without a strategy, and
`pretrain` on a model built under `strategy("auto")`. A figure is CPU seconds of the epochs behind the first, in which
everything is traced. What one turn gives is compared within that turn; the table has the median and the spread.
"""

import argparse
import time

import keras
import numpy as np

import tftransfer as tt
from tftransfer.compilation import default_compile


class Epochs(keras.callbacks.Callback):
    """CPU and wall seconds at the end of each epoch."""

    def __init__(self):
        super().__init__()
        self.ends = []

    def on_epoch_end(self, epoch, logs=None):
        self.ends.append((time.process_time(), time.perf_counter()))

    def spent(self):
        """Seconds (CPU, wall) of the epochs behind the first."""
        first, last = self.ends[0], self.ends[-1]
        return last[0] - first[0], last[1] - first[1]


def objective(shape):
    keras.utils.set_random_seed(0)
    backbone = tt.backbones.vit(shape, patch_size=4, width=96, depth=4, num_heads=4)
    return tt.objectives.MaskedAutoencoder(backbone)


def by_hand(x, options):
    model = objective(x.shape[1:])
    steps = len(x) // options.batch_size
    default_compile(model, steps=steps * options.epochs, say=lambda *_: None)
    model.plan(steps * options.epochs)
    batches = tt.data.batches(
        x, batch_size=options.batch_size, shuffle=True, drop_remainder=True, repeat=True, labels=False
    )
    clock = Epochs()
    model.fit(
        batches, epochs=options.epochs, steps_per_epoch=steps, shuffle=False, callbacks=[clock], verbose=0
    )
    return clock.spent()


def pretrained(x, options):
    clock = Epochs()
    tt.pretrain(
        objective(x.shape[1:]),
        x,
        epochs=options.epochs,
        batch_size=options.batch_size,
        callbacks=[clock],
        verbose=0,
    )
    return clock.spent()


def placed(x, options):
    with tt.placement.strategy("auto", verbose=False).scope():
        return pretrained(x, options)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=30, help="of an epoch")
    options = parser.parse_args()
    x = np.random.default_rng(0).random((options.batch_size * options.steps, 32, 32, 3), "float32")
    ways = {"by hand": by_hand, "pretrain": pretrained, "pretrain under auto": placed}
    spent = {name: [] for name in ways}
    for turn in range(options.turns):
        order = list(ways)[turn % 3 :] + list(ways)[: turn % 3]  # nobody is always first
        for name in order:
            spent[name].append(ways[name](x, options))
        print(
            turn, {name: tuple(round(s, 2) for s in values[-1]) for name, values in spent.items()}, flush=True
        )
    for over, under in (
        ("pretrain", "by hand"),
        ("pretrain under auto", "by hand"),
        ("pretrain under auto", "pretrain"),
    ):
        for i, kind in enumerate(("CPU", "wall")):
            ratios = [a[i] / b[i] for a, b in zip(spent[over], spent[under], strict=True)]
            print(
                f"{over} / {under}, {kind} seconds: {np.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
            )


if __name__ == "__main__":
    main()
