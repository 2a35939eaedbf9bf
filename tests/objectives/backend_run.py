"""Ten steps of every objective on a backend: `python -m tests.objectives.backend_run FOLDER [NAMES]`; weights are kept.

The backends' random generators differ, so that both draw here from one generator of integers made of `keras.ops`, from
the same states of the same `SeedGenerator`s. The first backend keeps the weights it begins with, the second one
begins with them.
"""

import sys
from pathlib import Path

import keras
import numpy as np
from keras import ops

from tests.objectives.conftest import examples, make
from tftransfer import objectives

SETTINGS = {"DINO": {"prototypes": 64, "local_views": 2}}
RATES = {"BarlowTwins": 1e-4}  # whose loss of 30 over 8 examples moves far, and its rounding with it
STEPS, BATCH = 10, 8


def mixed(x):
    """A hash of 32-bit integers (lowbias32, by C. Wellons): exact, and so the same, on every backend."""
    for factor, shift in ((0x7FEB352D, 16), (0x846CA68B, 15)):
        x = ops.bitwise_xor(x, ops.right_shift(x, ops.convert_to_tensor(shift, "uint32")))
        x = x * ops.convert_to_tensor(factor, "uint32")
    return ops.bitwise_xor(x, ops.right_shift(x, ops.convert_to_tensor(16, "uint32")))


def uniform(shape, minval=0.0, maxval=1.0, dtype=None, seed=None):
    state = ops.cast(seed.next(), "uint32")
    count = 1
    for size in shape:
        count = count * size
    numbers = ops.cast(ops.arange(count, dtype="int32"), "uint32")
    bits = mixed(numbers + mixed(state[1] + mixed(state[0])))
    bits = ops.right_shift(bits, ops.convert_to_tensor(8, "uint32"))
    drawn = ops.cast(ops.cast(bits, "int32"), "float32") / 2**24
    return ops.cast(ops.reshape(minval + (maxval - minval) * drawn, shape), dtype or "float32")


def normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    """Box and Muller's."""
    radius = ops.sqrt(-2 * ops.log(1 - uniform(shape, seed=seed)))
    drawn = radius * ops.cos(2 * np.pi * uniform(shape, seed=seed))
    return ops.cast(mean + stddev * drawn, dtype or "float32")


def shift_zeros(objective):
    """Offsets that begin at zero begin beside it: a row of zeros has no direction for a cosine to be taken of."""
    random = np.random.default_rng(0)
    for variable in objective.trainable_variables:
        value = ops.convert_to_numpy(variable)
        if not value.any():
            variable.assign(0.1 * random.standard_normal(value.shape))


def run(name, folder):
    objective = make(getattr(objectives, name), **SETTINGS.get(name, {}))
    start = folder / f"{name}.start.npz"
    if start.exists():
        objective.set_weights(list(np.load(start).values()))
    else:
        shift_zeros(objective)
        np.savez(start, *objective.get_weights())
    objective.compile(keras.optimizers.SGD(RATES.get(name, 1e-3), momentum=0.9))
    objective.plan(STEPS)
    x = examples(objective)[: 2 * BATCH]
    losses = objective.fit(x, batch_size=BATCH, epochs=STEPS // 2, shuffle=False, verbose=0).history["loss"]
    np.savez(folder / f"{name}.{keras.backend.backend()}.npz", *objective.get_weights(), losses)


def main(folder, *names):
    keras.random.uniform, keras.random.normal = uniform, normal
    for name in names or [name for name in objectives.__all__ if name != "Objective"]:
        run(name, Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
