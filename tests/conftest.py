"""What every test may use: a seed, quiet TensorFlow, two logical CPU devices, the shared data folder."""

import gc
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import pytest

if keras.backend.backend() == "jax":
    import jax

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    # Two logical devices, so that MirroredStrategy has two replicas on any machine; must precede any computation.
    cpus = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2)


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True, scope="module")
def swept():
    """What a module left behind is collected once, and what stays is not looked through again.

    TensorFlow and Keras keep millions of objects; to go through all of them took up to a minute, again and again.
    """
    yield
    if keras.backend.backend() == "jax":
        jax.clear_caches()  # thousands of compiled functions slow each further one down
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real data sets, given by TFTRANSFER_DATA or lying beside the checkout; else the test skips."""
    folder = Path(os.environ.get("TFTRANSFER_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real data sets are not at {folder} (set TFTRANSFER_DATA to their folder)")
    return folder


@pytest.fixture
def compiled(monkeypatch):
    """The functions that `placement.one_kernel` compiled."""
    from tftransfer.placement import kernels

    found, stock = [], kernels._compiled
    monkeypatch.setattr(
        kernels, "_compiled", lambda function: found.append(function.__name__) or stock(function)
    )
    return found
