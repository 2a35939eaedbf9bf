"""ridge_head(): the best linear head on frozen embeddings, in closed form and without a single step."""

import collections

import keras
import numpy as np

from tftransfer import data as data_module
from tftransfer.finetuning import features
from tftransfer.finetuning.case import input_shape_of
from tftransfer.finetuning.checks import check_data, check_task
from tftransfer.finetuning.streams import Features

__all__ = ["RidgeFit", "check_head", "fit_head", "ridge_head"]

_STRENGTHS = np.logspace(-5, 3, 17)  # of the penalty, relative to the mean eigenvalue
_CHUNK = 4096  # rows that are multiplied in float64 at a time

RidgeFit = collections.namedtuple("RidgeFit", "strength scale score")


def ridge_head(task, data, *, batch_size=128):
    """Sets the head to the ridge regression of the labels on the embeddings of the backbone as it is.

    `W = (ZᵀZ + λ I)⁻¹ Zᵀ Y`, with standardized embeddings Z, one-hot labels Y (less their mean; the intercept
    is not penalized), and λ with the smallest squared leave-one-out error, which has a closed form as well:
    `(y − ŷ) / (1 − h)`. For classes W is then multiplied by the number s that makes
    `softmax(s · leave-one-out prediction)` (or sigmoid) most likely, so that probabilities are about right
    and the loss begins low. One pass of the backbone over the data, and the decomposition of one matrix.

    A good start for `linear_probe`, or instead of it before `full`: a random head would send meaningless
    gradients into the backbone (LP-FT). Often all that is needed with few labels.

    Reference: Kumar et al., "Fine-Tuning can Distort Pretrained Features", 2022,
    https://arxiv.org/abs/2202.10054 ; Rifkin & Lippert, "Notes on Regularized Least Squares", 2007,
    http://hdl.handle.net/1721.1/37318

    Args:
        task: a `tasks.Classifier` or `Regressor` whose head is one linear layer.
        data: labelled examples, as for `finetune`.
        batch_size: examples at a time through the backbone.

    Returns:
        `RidgeFit(strength, scale, score)`: λ relative to the mean eigenvalue, s (1 for a regressor), and the
        leave-one-out accuracy (for several labels per example of single decisions; R² for a regressor).

    Raises:
        ValueError: when the head is not a linear `Dense` with a bias, or the data do not fit the task.

    Example:

    >>> import tftransfer as tt
    >>> task = tt.tasks.Classifier(tt.backbones.mlp((6,), units=(16,)), num_classes=2)
    >>> x = np.random.default_rng(0).normal(size=(80, 6)).astype("float32")
    >>> ridge_head(task, (x, (x[:, 0] > 0).astype(int))).score > 0.8
    True
    """
    check_task(task)
    check_head(task)
    data = data_module.read_texts(data, task)
    check_data(task, data)
    return fit_head(task, data, batch_size=batch_size)


def fit_head(task, data, *, batch_size=128):
    """`ridge_head` of data that are checked already, or of `streams.Features`, the embeddings of all of them."""
    head = check_head(task)
    if isinstance(data, Features):
        x, y, *_ = data.columns()
        x, y = np.asarray(x, "float32"), np.asarray(y)
    else:
        x, y = _embeddings(task, data, batch_size)
    classes = hasattr(task, "num_classes")
    targets = _targets(y, task) if classes else y.reshape(len(y), -1).astype("float64")
    kernel, bias, predictions, strength = _solve(x, targets)
    scale = 1.0
    if classes:
        binary = task.is_binary
        if binary:
            predictions, bias = predictions - 0.5, bias - 0.5
        scale = _likeliest_scale(predictions, targets, binary)
        right = (predictions > 0) == (targets > 0.5) if binary else predictions.argmax(1) == targets.argmax(1)
        score = float(right.mean())
    else:
        score = float(
            1 - np.sum((targets - predictions) ** 2) / max(np.sum((targets - targets.mean(0)) ** 2), 1e-12)
        )
    head.kernel.assign(scale * kernel)
    head.bias.assign(scale * bias)
    return RidgeFit(strength, scale, score)


def check_head(task):
    """The head of a task, which must be one linear layer."""
    head = task.head
    linear = isinstance(head, keras.layers.Dense) and head.activation is keras.activations.linear
    if not linear or head.bias is None or getattr(head, "lora_enabled", False):
        raise ValueError(
            f"ridge_head sets the kernel and bias of one linear Dense layer; the head is {type(head).__name__} "
            f"{getattr(head, 'name', '')!r}. Use the task's own head (swap_head()), or train yours by linear_probe."
        )
    return head


def _embeddings(task, data, batch_size):
    """Embeddings `(n, dim)` float32 and labels of all examples, in one order."""
    embedder, _ = features.helpers(task)
    scale = not data_module.rescales_pixels(task)
    parts, labels = [], []
    for x, y, *_ in data_module.batches(
        data, batch_size=batch_size, scale=scale, input_shape=input_shape_of(task)
    ):
        x = keras.tree.map_structure(np.asarray, x)  # JAX takes no tensors of TensorFlow's
        parts.append(np.asarray(embedder.predict_on_batch(x), "float32"))
        labels.append(np.asarray(y))
    return np.concatenate(parts), np.concatenate(labels)


def _targets(y, task):
    """Rows of 0 and 1 `(n, classes)`."""
    if y.ndim == 2 and y.shape[1] > 1:
        return y.astype("float64")
    y = y.reshape(-1)
    return y[:, None].astype("float64") if task.num_classes == 1 else np.eye(task.num_classes)[y.astype(int)]


def _solve(x, targets):
    """Kernel, bias, leave-one-out predictions and relative strength of the ridge regression of targets on x."""
    n = len(x)
    mean, spread = x.mean(axis=0, dtype="float64"), x.std(axis=0, dtype="float64")
    spread = np.where(spread > 1e-7 * max(spread.max(initial=0.0), 1e-30), spread, np.inf)  # dead features: 0
    z = ((x - mean) / spread).astype("float32")
    middle = targets.mean(axis=0)
    values, directions = _decomposed(z)
    g = z @ directions.astype("float32")  # (n, rank)
    projected = _product(g, targets - middle)  # (rank, targets)
    size = values.mean() if len(values) else 1.0
    best = None
    for relative in _STRENGTHS:
        inverse = 1 / (values + relative * size)
        coefficients = inverse[:, None] * projected
        leverage = 1 / n + np.einsum("ij,j,ij->i", g, inverse.astype("float32"), g)
        residuals = targets - middle - g @ coefficients
        residuals = residuals / np.maximum(1 - leverage, 1e-6)[:, None]
        error = float(np.mean(residuals**2))
        if best is None or error < best[0]:
            best = error, relative, coefficients, targets - residuals
    _, relative, coefficients, predictions = best
    kernel = directions @ coefficients / spread[:, None]
    return kernel, middle - mean @ kernel, predictions, float(relative)


def _decomposed(z):
    """Eigenvalues of `ZᵀZ` that are not 0, and their directions `(dim, rank)`, from the smaller of two matrices."""
    wide = len(z) <= z.shape[1]
    values, vectors = np.linalg.eigh(_product(z.T, z.T) if wide else _product(z, z))
    kept = values > 1e-6 * max(values.max(initial=0.0), 1e-30)
    values, vectors = values[kept], vectors[:, kept]
    return values, (z.T @ vectors / np.sqrt(values) if wide else vectors)


def _product(one, other):
    """`oneᵀ other` of float32 matrices, added up in float64."""
    starts = range(0, len(one), _CHUNK)
    return sum(one[i : i + _CHUNK].T.astype("float64") @ other[i : i + _CHUNK] for i in starts)


def _likeliest_scale(predictions, targets, binary, low=0.1, high=100.0):
    """The s in [low, high] that makes the labels most likely; the likelihood is concave in s, so bisection does."""

    def slope(s):  # of the log-likelihood
        logits = s * predictions
        if binary:
            p = 1 / (1 + np.exp(-np.clip(logits, -500, 500)))
        else:
            p = np.exp(logits - logits.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
        return np.sum((targets - p) * predictions)

    for _ in range(40):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return float(np.sqrt(low * high))
