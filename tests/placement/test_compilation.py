"""XLA is chosen where it works and pays."""

import keras
import pytest
from keras import layers

from tftransfer import backbones, placement
from tftransfer.placement import compilation

ON_TENSORFLOW = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the rule for TensorFlow")


def convolutions(count, pool=False, filters=compilation.WIDE):
    parts = [layers.Conv2D(filters, 3, padding="same") for _ in range(count)]
    if pool:
        parts.insert(1, layers.MaxPooling2D())
    return keras.Sequential([keras.Input((8, 8, 1)), *parts])


def attention(length=4):
    inputs = keras.Input((length, 6))
    return keras.Model(inputs, layers.MultiHeadAttention(1, 6)(inputs, inputs))


@ON_TENSORFLOW
@pytest.mark.parametrize(
    ("build", "steps", "expected", "reason"),
    [
        (lambda: convolutions(8), None, True, "8 wide convolutions"),
        (lambda: attention(length=None), None, False, "several lengths"),
        (lambda: convolutions(8), compilation.ENOUGH_STEPS, True, "8 wide convolutions"),
        (lambda: convolutions(8), compilation.ENOUGH_STEPS - 1, False, "repay"),
        (lambda: convolutions(8, pool=True), None, False, "max-pooling"),
        (lambda: convolutions(3), None, False, "little to gain"),
        (lambda: convolutions(9, filters=compilation.WIDE - 1), None, False, "little to gain"),
        (attention, 1000, True, "attention"),
        (attention, 10, False, "repay"),
        (lambda: backbones.vit((8, 8, 1), width=16, depth=1, num_heads=1), 1000, False, "little to gain"),
    ],
)
def test_rule_on_a_cpu(build, steps, expected, reason, monkeypatch):
    monkeypatch.setattr(compilation, "_own_kernels_are_fast", lambda: False)
    decision, why = placement.explain_jit_compile(build(), steps=steps)
    assert decision is expected and reason in why


@ON_TENSORFLOW
def test_processors_with_fast_kernels_of_their_own(monkeypatch):
    monkeypatch.setattr(compilation, "_own_kernels_are_fast", lambda: True)
    assert placement.jit_compile(convolutions(8)) is False
    assert placement.jit_compile(attention()) is False


@ON_TENSORFLOW
def test_frozen_layers_do_not_count(monkeypatch):
    monkeypatch.setattr(compilation, "_own_kernels_are_fast", lambda: False)
    model = convolutions(9)
    for layer in model.layers[:3]:
        layer.trainable = False
    assert placement.jit_compile(model) is False


@pytest.mark.compute
def test_a_layer_that_xla_cannot_compile(capsys):
    turn = layers.RandomRotation(0.1, name="turn")
    model = keras.Sequential([keras.Input((8, 8, 1)), turn, *convolutions(8).layers])
    assert placement.jit_compile(model, verbose=True) is False
    assert capsys.readouterr().out == "XLA off: layers that XLA cannot compile: turn\n"


def test_never_on_several_replicas(mirrored):
    with mirrored.scope():
        model = convolutions(8)
    assert placement.explain_jit_compile(model) == (False, "2 replicas, whose meetings XLA cannot compile")


@pytest.mark.compute
def test_jax_compiles():
    if keras.backend.backend() == "jax":
        assert placement.jit_compile(convolutions(1)) is True


def test_asking_for_it_on_replicas_changes_nothing(mirrored, examples):
    """`compile(jit_compile=True)` under replicas trains without XLA instead of aborting."""

    class Small(placement.PlacedModel):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, x):
            return self.dense(x)

    with mirrored.scope():
        model = Small()
    model.compile("sgd", "mse", jit_compile=True)
    model.fit(examples[0], examples[1], verbose=0)
