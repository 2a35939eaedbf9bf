import keras
import numpy as np
import pytest

from tftransfer import layers
from tftransfer.layers import Configured, register

EXAMPLES = {
    "PatchEmbedding": ({"patch_size": 2, "width": 6}, (2, 4, 4, 3)),
    "PositionEmbedding": ({"grid": (2, 3), "learned": False}, (2, 6, 8)),
    "RandomView": ({"crop_scale": (0.5, 0.9), "flip": False, "grey": 0.0, "seed": 3}, (2, 8, 8, 3)),
    "SelfAttention": ({"num_heads": 2, "causal": True}, (2, 5, 8)),
    "TransformerBlock": ({"num_heads": 2, "mlp_ratio": 2.0, "dropout": 0.1, "causal": True}, (2, 5, 8)),
}
LAYERS = list(EXAMPLES)


def build(member, **more):
    arguments, shape = EXAMPLES[member]
    layer = getattr(layers, member)(**arguments, **more)
    layer.build(shape)
    return layer, np.random.default_rng(0).random(shape, dtype="float32")


@pytest.mark.compute
@pytest.mark.parametrize("name", LAYERS)
def test_config_holds_every_argument(name):
    layer, _ = build(name, name="mine", dtype="mixed_bfloat16")
    again = type(layer).from_config(layer.get_config())
    assert again.name == "mine"
    assert again.dtype_policy.name == "mixed_bfloat16"
    for argument, value in EXAMPLES[name][0].items():
        assert getattr(again, argument) == value and type(getattr(again, argument)) is type(value)
    assert again.get_config() == layer.get_config()


@pytest.mark.compute
@pytest.mark.parametrize("name", LAYERS)
def test_keras_file_round_trip(name, tmp_path):
    layer, x = build(name, name="mine")
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[0]) is type(layer)
    assert [v.path for v in loaded.weights] == [v.path for v in model.weights]  # Keras numbers the seeds
    a, b = (keras.ops.convert_to_numpy(m(x, training=False)) for m in (model, loaded))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", LAYERS)
def test_a_frozen_layer_stays_frozen_in_a_file(name):
    layer, _ = build(name, trainable=False)
    assert not layer.trainable_variables
    assert not type(layer).from_config(layer.get_config()).trainable


def test_layers_inside_take_the_dtype_policy_of_the_block():
    block, x = build("TransformerBlock", dtype="mixed_bfloat16")
    inner = [layer for layer in block._flatten_layers(include_self=False)]
    assert len(inner) == 8 and all(layer.compute_dtype == "bfloat16" for layer in inner)
    assert keras.backend.standardize_dtype(block(x).dtype) == "bfloat16"
    assert all(v.dtype == "float32" for v in block.trainable_variables)


@register
class Wrapper(Configured, keras.layers.Layer):
    def __init__(self, inner, factor=2.0, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner
        self.factor = factor

    def call(self, x):
        return self.factor * self.inner(x)


def test_nested_layers_are_serialised():
    wrapper = Wrapper(keras.layers.Dense(3, name="dense"), factor=0.5, name="wrapper")
    again = Wrapper.from_config(wrapper.get_config())
    assert isinstance(again.inner, keras.layers.Dense) and again.inner.units == 3
    assert again.inner is not wrapper.inner
    assert (again.factor, again.name) == (0.5, "wrapper")


def test_registered_under_the_package():
    assert keras.saving.get_registered_name(Wrapper) == "tftransfer>Wrapper"
