"""What a model's outputs are, logits or probabilities, and probabilities from either."""

import keras
import numpy as np

_NOTES = {
    "softmax": "outputs are softmax probabilities",
    "sigmoid": "outputs are sigmoid probabilities",
    "logits": "outputs read as logits",
}


def output_kind(model):
    """Reads off the last layer whether outputs are `"softmax"` or `"sigmoid"` probabilities or `"logits"`.

    Args:
        model: A Keras model; nested, functional, Sequential or subclassed.

    Returns:
        One of the three words, or None when the last layer cannot be found or says nothing (a subclassed
        model, a `Lambda`): then the values decide.

    Example:
        >>> output_kind(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")]))
        'softmax'
    """
    if hasattr(model, "num_classes") and hasattr(model, "multi_label"):  # our Classifier: always logits
        return "logits"
    layer = model
    while isinstance(layer, keras.Model):
        try:
            layer = layer.outputs[0]._keras_history.operation
        except (AttributeError, IndexError, TypeError, ValueError):
            layers = getattr(layer, "layers", None) if isinstance(layer, keras.Sequential) else None
            if not layers:
                return None
            layer = layers[-1]
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    activation = getattr(layer, "activation", None)
    name = getattr(activation, "__name__", None)
    if name in ("softmax", "sigmoid"):
        return name
    return "logits" if name == "linear" else None


def to_probabilities(outputs, kind, *, multi_label=None):
    """Outputs as probabilities in float64, with a sentence that says what was assumed.

    Args:
        outputs: Model outputs, shape (n,) or (n, classes), finite.
        kind: What `output_kind` says.
        multi_label: Whether each column is a decision of its own; None takes sigmoid outputs for that.

    Returns:
        (probabilities of shape (n, 1) or (n, classes), multi_label, note).

    Raises:
        ValueError: Outputs that are not one row of numbers per example.
    """
    outputs = np.asarray(outputs, dtype="float64")
    outputs = outputs[:, None] if outputs.ndim == 1 else outputs
    if outputs.ndim != 2:
        raise ValueError(
            "a classifier gives one row of class scores per example, shape (n, classes); received "
            f"{outputs.shape}. Put a Classifier(backbone, num_classes=…) on a bare backbone."
        )
    single = outputs.shape[1] == 1
    guessed = kind is None
    if guessed:
        kind = "logits"
        if outputs.min() >= 0 and outputs.max() <= 1 + 1e-5:
            sums_to_one = np.abs(outputs.sum(1) - 1).max() < 1e-3
            kind = "softmax" if sums_to_one and not single else "sigmoid"
    multi_label = not single and (kind == "sigmoid" if multi_label is None else bool(multi_label))
    note = _NOTES[kind]
    if kind == "logits":
        note += " (sigmoid applied)" if single or multi_label else " (softmax applied)"
        probabilities = sigmoid(outputs) if single or multi_label else softmax(outputs)
    elif kind == "sigmoid" and not single and not multi_label:
        note += ", divided by their sum because each example has one class"
        probabilities = outputs / np.maximum(outputs.sum(1, keepdims=True), np.finfo("float64").tiny)
        probabilities[outputs.sum(1) == 0] = 1 / outputs.shape[1]
    else:
        total = (
            1.0 if single or multi_label else outputs.sum(1, keepdims=True)
        )  # float32 sums are off by 1e-7
        probabilities = outputs / total
    return probabilities, multi_label, note + (" judging by their values" if guessed else "")


def softmax(logits):
    """`exp(z_i) / Σ_j exp(z_j)` along the last axis, without overflow."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def sigmoid(logits):
    """`1 / (1 + exp(-z))`, without overflow."""
    return np.exp(-np.logaddexp(0, -logits))
