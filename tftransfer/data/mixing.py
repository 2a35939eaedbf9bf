"""Mixup and CutMix: Keras's own layers, put to the batches of a training run, labels and all."""

import warnings

import keras
import numpy as np

from tftransfer.data.array_batches import NumpyBatches
from tftransfer.data.dataset_batches import is_dataset
from tftransfer.layers import random_states

_TINY = 1e-30  # beside a weight it is nothing; where every weight is 0, no division by 0
_DRAWS = 1024  # more than a layer takes from its generator for one batch
_KERAS_READS = 4  # rank of a batch of pictures; MixUp takes one of rank 3 for a single picture, in silence


def mixed(batches, layer=None, *, num_classes=None, class_weight=None, start=None, seed=0):
    """Mixes the examples of each batch with one another, and their labels alike, by a Keras layer.

    `keras.layers.MixUp` gives `λ x_i + (1 − λ) x_j` and the same of the one-hot labels, λ from Beta(α, α);
    `keras.layers.CutMix` pastes a box of one picture into another and divides the labels by its area (before
    it is rounded to pixels: on pictures of 8 pixels the labels are off by up to a fifth, on 32 by 5%). Few
    labels gain most. Use it on training batches alone; validation batches are brought to the same form of
    labels without a layer.

    MixUp also serves signals, tables and embeddings, which are handed to it as pictures one pixel wide;
    Keras's layer by itself takes a batch `(batch, time, channels)` for one picture and gives every example
    the label of the first.

    Reference: Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018,
    https://arxiv.org/abs/1710.09412 ; Yun et al., "CutMix", 2019, https://arxiv.org/abs/1905.04899

    Args:
        batches: what `data.batches` gives with labels: batches `(x, y)`.
        layer: `keras.layers.MixUp(alpha)`, `keras.layers.CutMix()`, or another layer that takes a dict of
            "images" and "labels"; None to bring the labels to their form and mix nothing.
        num_classes: classes of labels that are class numbers; they become one-hot rows. None where they are
            rows of numbers already, or values to be regressed.
        class_weight: dict `{class: weight}` as `finetuning.class_weights` gives it; the batches then hold
            sample weights too. Both labels of a mixed example count with their own weight, `Σ_c w_c y_c`, and
            the label becomes `w_c y_c` over that sum, so that the loss is `−Σ_c w_c y_c log p_c`.
        start: number of the first batch, for batches without end: then the random numbers of a batch depend on
            its number and on nothing before it, and an interrupted run goes on as if it had not been. None to
            draw them one after the other.
        seed: of these numbers, where the layer has none.

    Returns:
        The same kind of batches, of `(x, y)` with float32 labels `(batch, num_classes)`, or of `(x, y,
        sample_weight)`. Compile with `CategoricalCrossentropy`, or `BinaryCrossentropy` for several labels and
        for `num_classes=1`.

    Raises:
        ValueError: when there are no labels or sample weights besides, x is a dict or whole numbers, CutMix
            gets something else than pictures, or `num_classes` is missing for class numbers.

    Example:

    >>> from tftransfer.data import batches
    >>> x, y = np.random.rand(8, 4, 4, 1).astype("float32"), np.arange(8) % 3
    >>> training = mixed(batches((x, y), batch_size=8), keras.layers.MixUp(0.4, seed=1), num_classes=3)
    >>> for pictures, labels in training:
    ...     print(pictures.shape, labels.shape, bool(np.allclose(np.sum(labels, axis=1), 1)))
    (8, 4, 4, 1) (8, 3) True
    """
    if layer is not None and not isinstance(layer, keras.layers.Layer):
        raise ValueError(f"layer must be a Keras layer such as keras.layers.MixUp(0.2); received {layer!r}.")
    if isinstance(batches, NumpyBatches):
        return _mixed_arrays(batches, layer, num_classes, class_weight, start, seed)
    if not is_dataset(batches):
        raise ValueError(
            f"mixed takes what tftransfer.data.batches gives; received {type(batches).__name__}. Write "
            "mixed(batches(data, batch_size=...), layer, num_classes=...)."
        )
    import tensorflow as tf

    _check(batches.element_spec, layer, num_classes)

    stepped, states = layer is not None and start is not None, ()
    if stepped and keras.backend.backend() == "tensorflow":
        layer, states, seed = _own(layer, seed)
    if stepped:
        batches = tf.data.Dataset.zip(batches, tf.data.Dataset.counter(start))

    def mix(*element):
        (x, y), step = element if stepped else (element, None)
        if num_classes and num_classes > 1 and y.shape.rank == 1:
            y = tf.one_hot(tf.cast(y, tf.int32), num_classes)
        y = tf.cast(y, tf.float32)
        y = y[:, None] if y.shape.rank == 1 else y  # (batch, classes)
        if layer is not None:
            for state in states:
                state.assign(tf.stack([tf.constant(seed, tf.int64), step * _DRAWS]))
            size = tf.shape(x)
            wide = x if x.shape.rank == _KERAS_READS else tf.reshape(x, (size[0], -1, 1, 1))
            out = layer({"images": wide, "labels": y}, training=True)
            x, y = tf.ensure_shape(tf.reshape(out["images"], size), x.shape), out["labels"]
        return (x, y) if class_weight is None else (x, *_weighted_rows(y, class_weight))

    # One batch after the other: parallel calls would take the layer's random numbers in no fixed order.
    return batches.map(mix).prefetch(2)


def _mixed_arrays(batches, layer, num_classes, class_weight, start, seed):
    _check(batches[0], layer, num_classes)
    inner, states = batches.transform, ()
    if layer is not None and start is not None:
        layer, states, seed = _own(layer, seed)

    def mix(element):
        x, y = element if inner is None else inner(element)
        if num_classes and num_classes > 1 and y.ndim == 1:
            y = np.eye(num_classes)[y.astype(int)]
        y = (y[:, None] if y.ndim == 1 else y).astype("float32")
        if layer is not None:
            for state in states:
                state.assign(np.array([seed, batches.step * _DRAWS]))
            wide = x if x.ndim == _KERAS_READS else x.reshape(len(x), -1, 1, 1)
            with warnings.catch_warnings():  # MixUp asks JAX for int64, and gets int32, which does
                warnings.filterwarnings("ignore", "(?s).*Explicitly requested dtype int64")
                out = layer({"images": wide, "labels": y}, training=True)
            x, y = np.asarray(out["images"]).reshape(x.shape), np.asarray(out["labels"])
        if class_weight is None:
            return x, y
        return (x, *(np.asarray(part, "float32") for part in _weighted_rows(y, class_weight)))

    batches.transform = mix
    return batches


def _own(layer, seed):
    """A copy of a layer, whose random state nobody else moves, its random states, and its seed."""
    own = getattr(layer, "seed", None)
    layer = type(layer).from_config(layer.get_config())
    return layer, random_states(layer), int(seed if own is None else own)


def _weighted_rows(y, class_weight):
    """Labels `(batch, classes)` that sum to 1 again, and the weights `(batch,)`, of classes that count differently."""
    table = np.array([class_weight[c] for c in range(len(class_weight))], "float32")
    if y.shape[-1] == 1:  # of one logit: the number is the share of class 1
        total = table[0] + (table[1] - table[0]) * y[:, 0]
        return y * table[1] / (total[:, None] + _TINY), total
    total = y @ table[:, None]  # (batch, 1)
    return y * table / (total + _TINY), total[:, 0]


def _check(element, layer, num_classes):
    """Looks at one batch, or at what tf.data says of one."""
    columns = element if isinstance(element, tuple) else (element,)
    if len(columns) != 2 or isinstance(columns[0], dict):
        kind = "views" if isinstance(columns[0], dict) else f"{len(columns)} columns"
        raise ValueError(
            f"mixed needs batches (x, y), x a single array; received {kind}. Leave the rest out."
        )
    x, y = columns
    rank = len(x.shape)
    if layer is not None and "float" not in str(getattr(x.dtype, "name", x.dtype)):
        raise ValueError(
            f"whole numbers cannot be mixed; x has dtype {x.dtype}. Mix their embeddings instead."
        )
    if layer is not None and rank != _KERAS_READS and not isinstance(layer, keras.layers.MixUp):
        raise ValueError(
            f"{type(layer).__name__} needs pictures (batch, height, width, channels); received {rank} axes. Use MixUp."
        )
    if num_classes is None and len(y.shape) == 1 and "float" not in str(getattr(y.dtype, "name", y.dtype)):
        raise ValueError("class numbers cannot be mixed without their number: pass num_classes.")
    if num_classes is not None and len(y.shape) == 2 and y.shape[1] not in (None, num_classes):
        raise ValueError(
            f"labels have {y.shape[1]} columns, and num_classes is {num_classes}. Make them equal."
        )
