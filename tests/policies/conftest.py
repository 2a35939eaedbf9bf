"""Small tasks and pictures that they can learn in a second."""

import keras
import numpy as np
import pytest

import tftransfer as tt
from tftransfer.finetuning import variable_paths


@pytest.fixture
def data():
    random = np.random.default_rng(0)
    y = np.arange(24) % 3
    x = random.uniform(0.0, 0.3, size=(24, 6, 6, 1)).astype("float32")
    for i in range(24):
        x[i, 2 * y[i] : 2 * y[i] + 2] += 0.6
    return x, y


@pytest.fixture
def make_task():
    def make(kind="vit"):
        keras.utils.set_random_seed(1)
        if kind == "vit":
            backbone = tt.backbones.vit((6, 6, 1), patch_size=2, width=8, depth=2, num_heads=2)
        else:
            backbone = tt.backbones.cnn((6, 6, 1), filters=(4, 6))
        return tt.tasks.Classifier(backbone, num_classes=3)

    return make


@pytest.fixture
def snapshot():
    def take(task):
        return {path: np.array(keras.ops.convert_to_numpy(v)) for path, v in variable_paths(task).items()}

    return take
