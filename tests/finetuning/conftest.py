"""A small task with BatchNormalization in its backbone, and pictures that it can learn in a second."""

import keras
import numpy as np
import pytest

from tftransfer.tasks import Classifier


def small_backbone(dropout=0.0, bias=True):
    """`bias`: of a convolution before a norm: its gradient is nothing but rounding, which Adam makes steps of."""
    layers = keras.layers
    parts = [
        keras.Input((6, 6, 1)),
        layers.Conv2D(4, 3, name="conv_00", use_bias=False),
        layers.BatchNormalization(momentum=0.9, name="norm_00"),
        layers.ReLU(name="relu_00"),
        layers.Conv2D(6, 3, name="conv_01", use_bias=bias),
        layers.BatchNormalization(momentum=0.9, name="norm_01", center=False, scale=False),
        layers.ReLU(name="relu_01"),
    ]
    if dropout:
        parts.append(layers.Dropout(dropout, name="dropout"))
    return keras.Sequential(parts, name="small")


def pictures(count, classes=3, seed=0):
    """Pictures whose class is which rows are bright."""
    random = np.random.default_rng(seed)
    y = np.arange(count) % classes
    x = random.uniform(0.0, 0.4, size=(count, 6, 6, 1)).astype("float32")
    for i in range(count):
        x[i, 2 * y[i] : 2 * y[i] + 2] += 0.5
    return x, y


@pytest.fixture
def data():
    return pictures(22)


@pytest.fixture
def validation():
    return pictures(15, seed=1)


@pytest.fixture
def make_task():
    def make(task=Classifier, backbone_dropout=0.0, backbone_bias=True, **options):
        keras.utils.set_random_seed(3)
        return task(small_backbone(backbone_dropout, backbone_bias), num_classes=3, **options)

    return make
