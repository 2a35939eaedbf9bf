import math

import keras
import numpy as np
import pytest

from tftransfer.layers import SelfAttention, TransformerBlock
from tftransfer.layers.transformer import rotated

erf = np.vectorize(math.erf)


def tokens(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def filled(layer, shape):
    """The layer with random values in every variable, biases and scales included."""
    layer.build(shape)
    draw = np.random.default_rng(1)
    for v in layer.weights:
        v.assign(draw.normal(size=v.shape) * 0.3)
    return layer


def attention(layer, x):
    """The paper's formula, head by head, token by token, in float64."""
    b, n, width = x.shape
    size = width // layer.num_heads
    kernel, bias = (np.asarray(v, "float64") for v in (layer.qkv.kernel, layer.qkv.bias))
    q, k, v = np.split(x.astype("float64") @ kernel + bias, 3, axis=-1)
    out = np.zeros((b, n, width))
    for example in range(b):
        for head in range(layer.num_heads):
            part = slice(head * size, (head + 1) * size)
            for i in range(n):
                seen = i + 1 if layer.causal else n
                scores = k[example, :seen, part] @ q[example, i, part] / math.sqrt(size)
                weights = np.exp(scores - scores.max())
                out[example, i, part] = weights / weights.sum() @ v[example, :seen, part]
    return out @ np.asarray(layer.projection.kernel, "float64") + np.asarray(layer.projection.bias, "float64")


def norm(layer, x):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * np.asarray(layer.gamma) + np.asarray(
        layer.beta
    )


@pytest.mark.compute
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("num_heads", [1, 2, 4])
def test_attention_per_head(num_heads, causal):
    layer, x = filled(SelfAttention(num_heads, causal), (None, 5, 8)), tokens(2, 5, 8)
    np.testing.assert_allclose(np.asarray(layer(x)), attention(layer, x), atol=2e-5)


@pytest.mark.compute
def test_block_is_pre_norm_with_two_residuals():
    block, x = filled(TransformerBlock(2, mlp_ratio=3.0), (None, 5, 8)), tokens(2, 5, 8).astype("float64")
    assert block.mlp_1.units == 24
    hidden = x + attention(block.attention, norm(block.norm_1, x))
    inner = norm(block.norm_2, hidden) @ np.asarray(block.mlp_1.kernel) + np.asarray(block.mlp_1.bias)
    inner = inner * 0.5 * (1 + erf(inner / math.sqrt(2)))  # gelu, exact
    expected = hidden + inner @ np.asarray(block.mlp_2.kernel) + np.asarray(block.mlp_2.bias)
    np.testing.assert_allclose(np.asarray(block(x.astype("float32"))), expected, atol=1e-4)


@pytest.mark.compute
def test_causal_tokens_do_not_see_what_follows():
    block, x = filled(TransformerBlock(2, causal=True), (None, 6, 8)), tokens(1, 6, 8)
    other = np.concatenate([x[:, :4], tokens(1, 2, 8, seed=5)], axis=1)
    a, b = np.asarray(block(x)), np.asarray(block(other))
    np.testing.assert_allclose(a[:, :4], b[:, :4], atol=1e-6)
    assert np.abs(a[:, 4:] - b[:, 4:]).max() > 1e-2


@pytest.mark.compute
def test_without_a_mask_the_order_of_tokens_does_not_matter():
    block, x = filled(TransformerBlock(2), (None, 6, 8)), tokens(1, 6, 8)
    np.testing.assert_allclose(np.asarray(block(x[:, ::-1])), np.asarray(block(x))[:, ::-1], atol=1e-5)


def test_any_number_of_tokens():
    block = filled(TransformerBlock(2), (None, None, 8))
    assert block(tokens(1, 3, 8)).shape == (1, 3, 8) and block(tokens(2, 7, 8)).shape == (2, 7, 8)


@pytest.mark.compute
@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_causal_stays_finite_in_half_precision(dtype):
    block = TransformerBlock(2, causal=True, dtype=dtype)
    out = keras.ops.cast(block(tokens(2, 5, 8)), "float32")
    assert np.isfinite(np.asarray(out)).all()


def test_each_of_the_three_matrices_starts_as_glorot():
    layer = SelfAttention(2)
    layer.build((None, 3, 64))
    limit = math.sqrt(6 / (64 + 64))  # that of the whole kernel would be sqrt(6 / (64 + 192)), 0.7 of it
    parts = np.split(np.asarray(layer.qkv.kernel), 3, axis=1)
    for part in parts:
        assert 0.97 * limit < np.abs(part).max() <= limit
        assert abs(part.std() - limit / math.sqrt(3)) < 0.03 * limit
    assert np.abs(parts[0] - parts[1]).max() > 0.1 and np.abs(parts[1] - parts[2]).max() > 0.1


@pytest.mark.compute
def test_dropout_only_while_training():
    block, x = filled(TransformerBlock(2, dropout=0.5), (None, 5, 8)), tokens(2, 5, 8)
    plain = filled(TransformerBlock(2), (None, 5, 8))
    np.testing.assert_array_equal(np.asarray(block(x, training=False)), np.asarray(plain(x)))
    assert np.abs(np.asarray(block(x, training=True)) - np.asarray(plain(x))).max() > 0.1


def test_a_width_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="num_heads=3 does not divide the width 8"):
        SelfAttention(3).build((None, 5, 8))


@pytest.mark.compute
@pytest.mark.parametrize("causal", [False, True])
def test_a_token_sees_its_own_segment_alone(causal):
    layer, x = filled(SelfAttention(2, causal), (None, 6, 8)), tokens(1, 6, 8)
    segments = np.array([[1, 1, 1, 2, 2, 0]], "int32")
    found = np.asarray(layer(x, segments))
    for first, last in ((0, 3), (3, 5), (5, 6)):
        np.testing.assert_allclose(
            found[:, first:last], attention(layer, x[:, first:last]), atol=2e-5, err_msg=f"{first}"
        )


@pytest.mark.compute
def test_rotary_scores_know_the_distance_alone():
    q, k = tokens(1, 1, 1, 8), tokens(1, 1, 1, 8, seed=1)
    turned = [[np.asarray(rotated(x, first=place))[0, 0, 0] for place in range(6)] for x in (q, k)]
    scores = np.array([[a @ b for b in turned[1]] for a in turned[0]])
    for distance in (-3, 0, 2):
        np.testing.assert_allclose(np.diag(scores, distance), np.diag(scores, distance)[0], atol=1e-5)
    assert abs(scores[0, 0] - scores[0, 3]) > 1e-2
    angle = 3 * 10000.0 ** (-np.arange(4) / 4)  # the paper's formula, place 3
    a, b = q[0, 0, 0, :4], q[0, 0, 0, 4:]
    expected = [a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle)]
    np.testing.assert_allclose(turned[0][3], np.concatenate(expected), atol=1e-5)
    with pytest.raises(ValueError, match="pairs of channels"):
        SelfAttention(2, rotary=True).build((None, 3, 6))


@pytest.mark.compute
def test_rotary_attention_is_the_same_wherever_a_text_stands():
    layer, x = filled(SelfAttention(2, rotary=True), (None, 3, 8)), tokens(1, 3, 8)
    row = np.concatenate([tokens(1, 4, 8, seed=2), x], axis=1)
    segments = np.array([[1, 1, 1, 1, 2, 2, 2]], "int32")
    np.testing.assert_allclose(np.asarray(layer(row, segments))[:, 4:], np.asarray(layer(x)), atol=2e-5)
    assert np.abs(np.asarray(layer(x[:, ::-1])) - np.asarray(layer(x))[:, ::-1]).max() > 1e-3


@pytest.mark.compute
@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh"])
def test_post_norm_block(activation):
    block = TransformerBlock(2, mlp_ratio=2.0, post_norm=True, activation=activation, epsilon=1e-6)
    block, x = filled(block, (None, 5, 8)), tokens(2, 5, 8).astype("float64")
    hidden = norm(block.norm_1, x + attention(block.attention, x))
    inner = hidden @ np.asarray(block.mlp_1.kernel) + np.asarray(block.mlp_1.bias)
    if activation == "gelu":
        inner = inner * 0.5 * (1 + erf(inner / math.sqrt(2)))
    else:
        inner = 0.5 * inner * (1 + np.tanh(math.sqrt(2 / math.pi) * (inner + 0.044715 * inner**3)))
    expected = norm(
        block.norm_2, hidden + inner @ np.asarray(block.mlp_2.kernel) + np.asarray(block.mlp_2.bias)
    )
    np.testing.assert_allclose(np.asarray(block(x.astype("float32"))), expected, atol=1e-4)


@pytest.mark.parametrize("post_norm", [False, True])
def test_rematerialized_steps_are_the_same(post_norm):
    x, segments, y = tokens(4, 6, 8), np.ones((4, 6), "int32"), tokens(4, 6, 8, seed=3)
    weights, start = [], None
    for again in (False, True):
        inputs = keras.Input((None, 8)), keras.Input((None,), dtype="int32")
        block = TransformerBlock(2, dropout=0.2, post_norm=post_norm, rematerialize=again)
        model = keras.Model(inputs, block(*inputs))
        start = start or model.get_weights()
        model.set_weights(start)
        block.drop.seed_generator.state.assign([1, 0])  # said, not drawn: Python's generator has other users
        model.compile(keras.optimizers.SGD(0.1), "mse")
        for _ in range(3):
            model.train_on_batch([x, segments], y)
        weights.append(model.get_weights())
    for plain, rematerialized in zip(*weights, strict=True):
        np.testing.assert_allclose(rematerialized, plain, atol=1e-5)  # weights of the next step: 1e-4 off


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="JAX's steps have no variables to race for"
)
def test_the_way_back_does_not_read_weights_again():
    """A second read raced with the optimizer's update, for TensorFlow's graph optimizer lost their order."""
    import tensorflow as tf

    inputs = keras.Input((None, 8))
    model = keras.Model(inputs, TransformerBlock(2, rematerialize=True)(inputs))

    @tf.function
    def gradients(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(x, training=True) ** 2)
        return tape.gradient(loss, model.trainable_variables)

    graph = gradients.get_concrete_function(tokens(4, 6, 8)).graph
    reads = [op for op in graph.get_operations() if op.type == "ReadVariableOp" and op.outputs[0].consumers()]
    assert len(reads) == len({op.inputs[0].name for op in reads}) == len(model.trainable_variables)


def test_configs_of_files_before_text_still_serve():
    config = TransformerBlock(2).get_config()
    for name in ("post_norm", "rotary", "activation", "epsilon", "rematerialize"):
        del config[name]
    old = TransformerBlock.from_config(config)
    assert (old.post_norm, old.rotary, old.activation, old.epsilon) == (False, False, "gelu", 1e-6)


@pytest.mark.parametrize("stddev", [None, 0.02])
def test_kernels_start_as_asked(stddev):
    block = TransformerBlock(2, kernel_stddev=stddev)
    block.build((None, 4, 64))
    expected = {
        "qkv": 128,
        "projection": 128,
        "mlp_1": 320,
        "mlp_2": 320,
    }  # incoming + outgoing, of one matrix each
    for layer in (block.attention.qkv, block.attention.projection, block.mlp_1, block.mlp_2):
        cut = stddev and 0.88 * stddev  # what a normal distribution has left that is cut at two deviations
        wanted = cut or math.sqrt(2 / expected[layer.name])
        assert float(np.std(layer.kernel)) == pytest.approx(wanted, rel=0.06)


def test_bert_starts_as_published():
    from tftransfer.backbones import bert, gpt

    sizes = {"vocabulary_size": 20, "width": 64, "depth": 1, "num_heads": 2}
    kernels = [m((8,), **sizes).get_layer("trunk").get_layer("block_00").mlp_1.kernel for m in (bert, gpt)]
    assert [round(float(np.std(kernel)), 2) for kernel in kernels] == [0.02, 0.08]
