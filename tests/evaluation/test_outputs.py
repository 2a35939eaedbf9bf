"""What a model's outputs are: the last layer's word, else the values."""

import keras
import numpy as np
import pytest

from tftransfer.evaluation.outputs import output_kind, sigmoid, softmax, to_probabilities

pytestmark = pytest.mark.compute
layers = keras.layers


def sequential(*stack):
    return keras.Sequential([keras.Input((4,)), *stack])


def functional(*stack):
    inputs = x = keras.Input((4,))
    for layer in stack:
        x = layer(x)
    return keras.Model(inputs, x)


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


@pytest.mark.parametrize("build", [sequential, functional])
@pytest.mark.parametrize(
    "stack, kind",
    [
        ([layers.Dense(3, activation="softmax")], "softmax"),
        ([layers.Dense(3, activation="sigmoid")], "sigmoid"),
        ([layers.Dense(3)], "logits"),
        ([layers.Dense(3), layers.Softmax()], "softmax"),
        ([layers.Dense(3), layers.Activation("sigmoid")], "sigmoid"),
        ([layers.Dense(3, activation="relu")], None),
        ([layers.Dense(3), layers.Reshape((3,))], None),
    ],
)
def test_last_layer(build, stack, kind):
    assert output_kind(build(*stack)) == kind
    assert output_kind(build(*[type(s).from_config(s.get_config()) for s in stack])) == kind


def test_nested_and_subclassed():
    inner = functional(layers.Dense(3, activation="softmax"))
    assert output_kind(sequential(inner)) == "softmax"
    assert output_kind(functional(sequential(layers.Dense(2, activation="sigmoid")))) == "sigmoid"
    assert output_kind(Subclassed()) is None
    assert output_kind(keras.Sequential([layers.Dense(3, activation="softmax")])) == "softmax"  # not built


def test_logits_of_any_size():
    logits = np.array([[1000.0, 0.0, -1000.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(softmax(logits), [[1, 0, 0], [1 / 3] * 3])
    np.testing.assert_allclose(sigmoid(logits[0]), [1, 0.5, 0], atol=1e-12)
    p, multi_label, note = to_probabilities(logits, "logits")
    assert not multi_label and "softmax applied" in note and p.shape == (2, 3)
    p, multi_label, note = to_probabilities(logits, "logits", multi_label=True)
    assert multi_label and "sigmoid applied" in note
    p, multi_label, note = to_probabilities(logits[0], "logits")
    assert p.shape == (3, 1) and not multi_label and "sigmoid applied" in note


def test_sigmoid_outputs():
    scores = np.array([[0.9, 0.3], [0.0, 0.0]])
    assert to_probabilities(scores, "sigmoid")[1] is True
    p, multi_label, note = to_probabilities(scores, "sigmoid", multi_label=False)
    assert not multi_label and "divided" in note
    np.testing.assert_allclose(p, [[0.75, 0.25], [0.5, 0.5]])


@pytest.mark.parametrize(
    "outputs, says",
    [
        ([[0.2, 0.8]], "softmax probabilities judging"),
        ([[0.2], [0.9]], "sigmoid probabilities judging"),
        ([[0.2, 0.9]], "sigmoid probabilities"),
        ([[-1.0, 2.0]], "logits .* judging"),
    ],
)
def test_values_decide_where_no_layer_does(outputs, says):
    import re

    assert re.search(says, to_probabilities(np.array(outputs), None)[2])


def test_features_are_no_classes():
    with pytest.raises(ValueError, match="Classifier"):
        to_probabilities(np.zeros((2, 4, 4, 8)), "logits")
