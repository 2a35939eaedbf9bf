"""Both residual networks against the published sizes (torchvision's and CIFAR-10 variants, less the head)."""

import math

import keras
import numpy as np
import pytest

from tftransfer.backbones import resnet18, resnet50


def trainable(model):
    return sum(math.prod(v.shape) for v in model.trainable_variables)


@pytest.mark.parametrize(
    ("build", "side", "parameters", "features"),
    [
        (resnet18, 32, 11_173_962 - 5_130, (4, 4, 512)),  # CIFAR-10 variant less its 10-class head
        (resnet18, 224, 11_689_512 - 513_000, (7, 7, 512)),  # ImageNet less its 1000-class head
        (resnet50, 32, 23_520_842 - 20_490, (4, 4, 2048)),
        (resnet50, 224, 25_557_032 - 2_049_000, (7, 7, 2048)),
    ],
)
def test_published_sizes(build, side, parameters, features):
    model = build((side, side, 3))
    assert trainable(model) == parameters
    assert model.output_shape[1:] == features


@pytest.mark.parametrize(("build", "convolutions"), [(resnet18, 18 - 1), (resnet50, 50 - 1)])
def test_depth_is_in_the_name(build, convolutions):
    layers = build((32, 32, 3)).layers
    on_the_path = [x for x in layers if isinstance(x, keras.layers.Conv2D) and "shortcut" not in x.name]
    assert len(on_the_path) == convolutions  # the last of the counted layers is the classifier


def test_stem_is_chosen_by_the_picture():
    def has_pool(side, **options):
        return any(layer.name == "stem_pool" for layer in resnet18((side, side, 1), **options).layers)

    assert not has_pool(63)
    assert has_pool(64)
    assert has_pool(32, stem="224")


def test_shortcuts_only_where_the_shape_changes():
    def shortcuts(model):
        names = [layer.name for layer in model.layers]
        return [int(name[6:8]) for name in names if name.endswith("_shortcut_conv")]

    assert shortcuts(resnet18((32, 32, 3))) == [2, 4, 6]
    assert shortcuts(resnet50((32, 32, 3))) == [0, 3, 7, 13]


def test_block_is_relu_of_sum():
    """With the last convolution of a block at zero, the block gives its (already rectified) input back."""
    model = resnet18((8, 8, 1))
    model.get_layer("block_00_conv_2").kernel.assign(np.zeros((3, 3, 64, 64)))
    inner = keras.Model(model.input, [model.get_layer(n).output for n in ("stem_relu", "block_00_relu_2")])
    before, after = inner(np.random.default_rng(0).random((2, 8, 8, 1), dtype="float32"))
    np.testing.assert_allclose(np.asarray(before), np.asarray(after), atol=1e-6)


def test_bad_arguments():
    with pytest.raises(ValueError, match="stem"):
        resnet18((32, 32, 3), stem=32)
    with pytest.raises(ValueError, match="at least 8×8"):
        resnet18((4, 4, 3))
    with pytest.raises(ValueError, match=r'stem="224" takes pictures of at least 32×32'):
        resnet50((28, 28, 1), stem="224")
