"""One device against two replicas: the same model, data and seed under each."""

import keras
import numpy as np
import pytest

from tftransfer.placement import strategy


@pytest.fixture
def mirrored():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("tf.distribute replicas exist on TensorFlow only")
    return strategy("mirrored", verbose=False)


@pytest.fixture
def one_device():
    return strategy("cpu", verbose=False)


@pytest.fixture
def train():
    """Function that builds, compiles and fits under a strategy, from the same seed, and returns model and history."""

    def run(placed, build, x, y=None, *, optimizer=None, compile_with=dict, **fit):
        keras.utils.set_random_seed(1)
        with placed.scope():
            model = build()
            made = optimizer() if optimizer is not None else keras.optimizers.SGD(0.1, momentum=0.9)
            model.compile(made, **compile_with())
        fit = {"batch_size": 16, "epochs": 2, "shuffle": False, "verbose": 0, **fit}
        return model, model.fit(x, y, **fit).history

    return run


@pytest.fixture
def assert_same():
    """Function that compares the weights of two models."""

    def check(one, other, tolerance=1e-5):
        pairs = list(zip(one.get_weights(), other.get_weights(), strict=True))
        assert pairs and all(np.isfinite(a).all() and np.isfinite(b).all() for a, b in pairs)
        worst = max(float(np.abs(a - b).max()) for a, b in pairs)
        assert worst <= tolerance, f"weights differ by {worst:.2e}"

    return check


@pytest.fixture
def examples():
    """45 examples (batches of 16, 16 and 13; on two replicas 8+8, 8+8 and 8+5) and 21 for validation."""
    random = np.random.default_rng(0)
    x, v = random.standard_normal((45, 6), "float32"), random.standard_normal((21, 6), "float32")
    return x, random.integers(0, 4, 45), v, random.integers(0, 4, 21)
