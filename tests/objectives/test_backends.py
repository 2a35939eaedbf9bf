"""Every objective on JAX against TensorFlow: the same source gives the same weights after ten steps."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tftransfer import objectives

# One of each kind in every run of the tests; all of them with pytest -m thorough, minutes more.
KINDS = ["SimCLR", "BYOL", "MaskedAutoencoder", "VariationalAutoencoder", "GAN", "SCARF"]
ALL = [
    name for name in objectives.__all__ if name not in ("Objective", "SentenceContrast")
]  # Keras's own dropout

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="starts both backends itself"),
]


@pytest.fixture(
    scope="module", params=[KINDS, pytest.param(ALL, marks=pytest.mark.thorough)], ids=["kinds", "all"]
)
def runs(request, tmp_path_factory):
    """The objectives, and the folder in which both backends left their weights: one process after the other."""
    pytest.importorskip("jax")
    folder = tmp_path_factory.mktemp("backends")
    for backend in ("tensorflow", "jax"):
        environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
        command = [sys.executable, "-m", "tests.objectives.backend_run", str(folder), *request.param]
        root = Path(__file__).parents[2]
        done = subprocess.run(command, env=environment, cwd=root, timeout=550, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    return request.param, folder


def test_jax_gives_the_weights_of_tensorflow(runs):
    names, folder = runs
    for name in names:
        start = list(np.load(folder / f"{name}.start.npz").values())
        *one, losses = np.load(folder / f"{name}.tensorflow.npz").values()
        *two, its = np.load(folder / f"{name}.jax.npz").values()
        moved = max(np.abs(a - b).max() for a, b in zip(start, one, strict=True))
        far = max(np.abs(a - b).max() for a, b in zip(one, two, strict=True))
        assert moved > 1e-4 and np.isfinite(losses).all(), name
        assert far <= 1e-5, f"{name}: weights differ by {far:.1e}, having moved by {moved:.1e}"
        np.testing.assert_allclose(losses, its, rtol=1e-4, err_msg=name)
