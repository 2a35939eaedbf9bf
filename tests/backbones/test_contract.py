"""What every backbone builder owes to objectives, tasks, policies and weights files."""

import functools
import inspect
import re

import keras
import numpy as np
import pytest

from tests.choice import each
from tests.xla import lowered
from tftransfer import backbones
from tftransfer.layers import Tokenization

BUILDERS = [getattr(backbones, name) for name in backbones.__all__]
SHAPES = [(8, 8, 1), (28, 28, 1), (32, 32, 3)]  # JAX, which compiles for seconds, sees the first
ROWS = {"table_transformer": (8,)}  # builders that read no pictures
TEXTS = ("bert", "gpt", "gru", "lstm", "transformer_text")

# A chain of sixteen bottleneck blocks is the same code as resnet18's, and slow to build, trace and compile.
TRAINED = each(BUILDERS, [name for name in backbones.__all__ if name != "resnet50"])

every_builder = pytest.mark.parametrize("build", BUILDERS, ids=backbones.__all__)


@functools.cache
def tokenization_json():
    corpus = ["the cat sat on the mat", "a dog ate the log"]
    return Tokenization().adapt(corpus, vocabulary_size=40, min_count=1, verbose=0).tokenizer


def new(build):
    """A small model of a builder's own."""
    if build.__name__ in TEXTS:
        return build(Tokenization(tokenization_json(), max_length=12), width=32, depth=2)
    return build(ROWS.get(build.__name__, (8, 8, 1)))


@functools.cache
def built(build, shape=None):
    """A model that several tests read; those that train build their own."""
    return build(shape) if shape and build.__name__ not in TEXTS else new(build)


def pictures(shape, rows=4):
    return np.random.default_rng(0).random((rows, *shape), dtype="float32")


def examples_of(model, rows=4):
    """What a model reads: pictures, rows of a table, or ids of texts."""
    if model.input_shape == (None, None):
        ids = np.random.default_rng(0).integers(1, 30, (rows, 7)).astype("int32")
        ids[:, 5:] *= np.arange(rows)[:, None] % 2  # some have padding
        return ids
    return pictures(model.input_shape[1:], rows)


def train_one_step(model, **compile_options):
    """One step towards random features; returns the paths of the trainable variables that it did not move."""
    x = examples_of(model)
    target = np.random.default_rng(1).normal(size=model(x[:1]).shape[1:]).astype("float32")
    before = [np.copy(v.numpy()) for v in model.trainable_variables]
    model.compile(keras.optimizers.SGD(10.0), loss="mse", **compile_options)
    loss = model.train_on_batch(x, np.stack([target] * len(x)))
    assert np.isfinite(loss)
    pairs = zip(model.trainable_variables, before, strict=True)
    return [variable.path for variable, old in pairs if np.array_equal(variable.numpy(), old)]


def test_all_names_every_builder():
    public = {n for n, o in vars(backbones).items() if inspect.isfunction(o)}
    assert set(backbones.__all__) == public


@every_builder
def test_signature(build):
    parameters = list(inspect.signature(build).parameters.values())
    assert parameters[0].name == "input_shape"
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in parameters[1:])
    assert parameters[-1].name == "name" and parameters[-1].default == build.__name__


@every_builder
def test_is_a_plain_keras_model(build):
    model = built(build)
    functional = type(keras.Model(model.inputs, model.outputs))
    assert type(model) in (keras.Sequential, functional)
    assert model.built and len(model.inputs) == 1 and len(model.outputs) == 1


@every_builder
def test_names_do_not_depend_on_what_was_built_before(build):
    first, second = built(build), new(build)
    assert first.get_config() == second.get_config()  # an auto-numbered name would differ
    paths = [v.path for v in first.weights]  # without the states of generators, which Keras names
    assert paths == [v.path for v in second.weights]
    assert len(set(paths)) == len(paths)


@every_builder
def test_blocks_sort_by_depth(build):
    paths = [v.path for v in built(build).trainable_variables]
    numbers = [m.group(1) for m in (re.search(r"\bblock_(\d\d)", p) for p in paths) if m]
    assert numbers and numbers == sorted(numbers) and numbers[0] == "00"


@pytest.mark.parametrize("shape", [pytest.param(SHAPES[0], marks=pytest.mark.compute), *SHAPES[1:]], ids=str)
@every_builder
def test_features_are_finite(build, shape):
    if build.__name__ in TEXTS and shape != SHAPES[0]:
        return
    if build.__name__ in ROWS:
        shape = ROWS[build.__name__]
    model = built(build, shape)
    x = examples_of(model, rows=2)
    features = np.asarray(model(x))
    assert features.shape[0] == 2
    assert all(n in (m, None) for n, m in zip(model.output_shape[1:], features.shape[1:], strict=True))
    assert features.ndim in (2, 3, 4)
    assert features.dtype == "float32"
    assert np.isfinite(features).all()
    assert np.ptp(features[0] - features[1]) > 0  # different pictures, different features


@pytest.mark.compute
@every_builder
def test_config_round_trip(build):
    model = built(build)
    copy = type(model).from_config(model.get_config())
    assert type(copy) is type(model)
    assert [v.path for v in copy.weights] == [v.path for v in model.weights]
    copy.set_weights(model.get_weights())
    x = examples_of(model)
    np.testing.assert_array_equal(np.asarray(model(x)), np.asarray(copy(x)))


@every_builder
def test_keras_file_round_trip(build, tmp_path):
    model = built(build)
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")  # in Keras's safe mode
    for mine, its in zip(model.weights, copy.weights, strict=True):
        assert mine.path == its.path
        np.testing.assert_array_equal(mine.numpy(), its.numpy())


@pytest.mark.compute
@every_builder
def test_same_seed_same_weights(build):
    weights = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        weights.append(new(build).get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(*weights, strict=True))
    other = built(build).get_weights()
    assert any(not np.array_equal(a, b) for a, b in zip(weights[0], other, strict=True))


@pytest.mark.parametrize("build", TRAINED)
def test_every_trainable_variable_gets_gradient(build):
    assert train_one_step(new(build), jit_compile=False) == []


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the lowering is TensorFlow's")
@pytest.mark.parametrize("build", TRAINED)
def test_xla_takes_a_step(build):
    model = new(build)
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    x = examples_of(model)
    assert lowered(model, x, np.zeros(model(x).shape, "float32")).startswith("HloModule")


@every_builder
def test_mixed_precision_is_finite(build):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = new(build)
        features = keras.ops.convert_to_numpy(keras.ops.cast(model(examples_of(model)), "float32"))
    finally:
        keras.config.set_dtype_policy(before)
    assert keras.backend.standardize_dtype(model.compute_dtype) == "bfloat16"
    assert all(v.dtype == "float32" for v in model.trainable_variables)
    assert np.isfinite(features).all()


@pytest.mark.parametrize("shape", [(28, 28, 1.5), (None, None, 3), (28, 28, 0), (28, -28, 1), ()], ids=str)
@every_builder
def test_bad_shape_is_a_value_error(build, shape):
    with pytest.raises(ValueError, match="input_shape"):
        build(shape)


@pytest.mark.parametrize(
    "build",
    [b for b in BUILDERS if b is not backbones.mlp and b.__name__ not in (*ROWS, *TEXTS)],
    ids=lambda b: b.__name__,
)
def test_missing_channel_axis_is_a_value_error(build):
    with pytest.raises(ValueError, match=r"channel"):
        build((28, 28))
