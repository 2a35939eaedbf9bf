"""Two JAX devices give what one does. In a process of its own: the number of devices is fixed at the start."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import warnings
import keras, numpy as np
from keras import layers
from tftransfer import placement

class Network(placement.PlacedModel):
    def __init__(self):
        super().__init__()
        self.body = keras.Sequential([layers.Dense(8, "relu"), layers.BatchNormalization(), layers.Dense(4)])
        self.seed = keras.random.SeedGenerator(3)

    def call(self, x, training=False):
        if training:
            noise = placement.per_example(lambda n: keras.random.normal((n, 6), seed=self.seed), x.shape[0])
            x = x + 0.1 * noise
        return placement.all_gather(self.body(x, training=training))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return self.scale_loss(keras.ops.mean((y_pred - y) ** 2))

random = np.random.default_rng(0)
x, y = random.standard_normal((45, 6), "float32"), random.standard_normal((45, 4), "float32")

def train(name, rows):
    keras.utils.set_random_seed(1)
    with placement.strategy(name, verbose=False).scope():
        model = Network()
    model.compile("adam")
    model.fit(x[:rows], y[:rows], batch_size=16, epochs=2, verbose=0, validation_data=(x, y))
    return model

for rows, divides in ((32, True), (45, False)):
    one = train("cpu", rows)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        two = train("auto", rows)
    assert any("divide by the 2 devices" in str(w.message) for w in caught) is not divides
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    shown = [m.predict(x, batch_size=16, verbose=0) for m in (one, two)]
    np.testing.assert_allclose(*shown, atol=1e-5)
    scores = [m.evaluate(x, y, batch_size=16, verbose=0) for m in (one, two)]
    np.testing.assert_allclose(*scores, atol=1e-5)
    assert len(two.body.layers[0].kernel.value.devices()) == 2
assert placement.strategy("auto", verbose=False).num_replicas_in_sync == 2
assert keras.distribution.distribution() is None
print("agreed")
"""


@pytest.mark.slow
def test_two_devices_give_what_one_does():
    pytest.importorskip("jax")
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=environment, timeout=300, capture_output=True, text=True)
    assert done.stdout.strip().endswith("agreed"), done.stderr[-3000:]
