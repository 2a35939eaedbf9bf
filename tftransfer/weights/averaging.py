"""Averages in weight space: between a pretrained and a tuned model (WiSE-FT), and over runs (model soups)."""

import math
import os

import keras
import numpy as np

from tftransfer.weights.loading import load_backbone
from tftransfer.weights.paths import slots
from tftransfer.weights.receipt import as_numpy, listed
from tftransfer.weights.transfer import transfer_weights


def interpolate(pretrained, tuned, alpha, *, allow_missing=r"^head/", allow_unused=()):
    """A model between a pretrained one and what fine-tuning made of it: `(1 − α) · pretrained + α · tuned`.

    On data unlike the labelled ones, α around 0.5 is often better than either end, and costs nothing: try a
    few values on held-out data. The two must come from one training path (the tuned one from the pretrained
    one), else what lies between them is worthless. What the pretrained one lacks, by default the head, stays
    as in the tuned one, so probe before tuning (`linear_probe() + full()`): a head that was learned on other
    features does not fit halfway back.

    BatchNormalization's statistics are interpolated as well, which is inexact: estimate them anew by
    `finetuning.refresh_batch_norm(model, data)`.

    Reference: Wortsman et al., "Robust fine-tuning of zero-shot models", 2022,
    https://arxiv.org/abs/2109.01903

    Args:
        pretrained: a model, or a weights file of any kind that `transfer_weights` reads.
        tuned: a task or model, or its `.keras` file or self-describing `.weights.h5` file.
        alpha: 0 is pretrained, 1 is tuned.
        allow_missing: regular expression, or several, of variables that the pretrained one may lack.
        allow_unused: the same, of weights of the pretrained one that the tuned one may lack.

    Returns:
        A new `keras.Model` of the class of `tuned`, not compiled. Neither input changes.

    Raises:
        ValueError: when `alpha` is outside [0, 1], or the two do not fit together; lists what does not.

    Example:

    >>> before = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="body")])
    >>> after = keras.models.clone_model(before)
    >>> middle = interpolate(before, after, 0.5)
    >>> mean = (before.get_weights()[0] + after.get_weights()[0]) / 2
    >>> np.allclose(middle.get_weights()[0], mean)
    True
    """
    if not isinstance(alpha, (int, float, np.number)) or not 0 <= alpha <= 1:
        raise ValueError(f"alpha lies between 0 (pretrained) and 1 (tuned); received {alpha!r}.")
    model = _copy(_load(tuned))
    ends = [as_numpy(slot.variable).copy() for slot in slots(model)]
    transfer_weights(pretrained, model, allow_missing=allow_missing, allow_unused=allow_unused, adapt=())
    for slot, end in zip(slots(model), ends, strict=True):
        if _is_float(slot.variable):
            start = as_numpy(slot.variable).astype("float64")
            slot.variable.assign((end + (1 - alpha) * (start - end)).astype(end.dtype))
        else:
            slot.variable.assign(end)
    return model


def soup(models, *, score=None, verbose=True):
    """The mean of the weights of several runs from one starting point; often better than the best of them.

    Runs that were tuned from the same pretrained weights, with other seeds, rates or augmentation, tend to
    lie in one basin, and their mean costs at inference what one of them does. Uniform: the mean of all.
    Greedy, with a `score`: from the best run downwards, each is added if the score of the mean does not fall;
    never worse than the best run on the data of the score, which therefore are no longer a test set.

    BatchNormalization's statistics are averaged as well, which is inexact: estimate them anew by
    `finetuning.refresh_batch_norm(model, data)`.

    Reference: Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy
    without increasing inference time", 2022, https://arxiv.org/abs/2203.05482

    Args:
        models: tasks or models of one architecture, or their `.keras` or self-describing `.weights.h5` files.
        score: function of a model that gives a number, higher for a better one, such as
            `lambda model: tt.evaluate(model, validation, verbose=0).metrics["accuracy"]`; None for uniform.
        verbose: whether a line says which runs the greedy soup is made of.

    Returns:
        A new `keras.Model` of the class of the first, not compiled. The inputs do not change.

    Raises:
        ValueError: when there are none, they differ in variables or shapes, or a score is no number.

    Example:

    >>> runs = [keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d")]) for _ in range(3)]
    >>> mean = soup(runs)
    >>> np.allclose(mean.get_weights()[0], sum(run.get_weights()[0] for run in runs) / 3, atol=1e-6)
    True
    """
    models = [models] if isinstance(models, (str, os.PathLike, keras.Model)) else list(models)
    if not models:
        raise ValueError("soup needs at least one model or file; received none.")
    result = _copy(_load(models[0]))
    values = [_values(source, result, number) for number, source in enumerate(models)]
    if score is None:
        _assign(result, values)
        return result
    scores = [_scored(score, result, [value]) for value in values]
    best, *others = sorted(range(len(models)), key=lambda i: -scores[i])
    chosen, reached = [best], scores[best]
    for i in others:
        trial = _scored(score, result, [values[j] for j in (*chosen, i)])
        if trial >= reached:
            chosen, reached = [*chosen, i], trial
    _assign(result, [values[j] for j in chosen])
    if verbose:
        runs = ", ".join(str(i) for i in chosen)
        print(
            f"Soup of {len(chosen)} of {len(models)} models ({runs}): {reached:.4f}; the best: {scores[best]:.4f}."
        )
    return result


def _load(source):
    if isinstance(source, keras.Model):
        return source
    if not isinstance(source, (str, os.PathLike)):
        raise ValueError(f"Expected a keras.Model or the path of its file, received {source!r}.")
    if str(source).endswith(".keras"):
        return keras.saving.load_model(source, compile=False)
    return load_backbone(source)


def _copy(model):
    """The same model anew, with the same weights."""
    try:
        config = keras.saving.serialize_keras_object(model)
        config.pop("compile_config", None)
        copied = keras.saving.deserialize_keras_object(config, safe_mode=False)  # of a model in memory
    except (NotImplementedError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"The model {model.name!r} cannot be built anew from its config: {error}. Build it with `keras.Sequential` "
            "or `keras.Model(inputs, outputs)`, or give its classes `get_config`."
        ) from error
    for slot, original in zip(slots(copied), slots(model), strict=True):
        slot.variable.assign(as_numpy(original.variable))
    return copied


def _values(source, result, number):
    """The values of a source's variables in the order of `result`; ValueError where they differ in kind."""
    found = {slot.path: as_numpy(slot.variable).copy() for slot in slots(_load(source))}
    wanted = {slot.path: tuple(slot.variable.shape) for slot in slots(result)}
    wrong = [path for path, shape in wanted.items() if path not in found or found[path].shape != shape]
    wrong += [path for path in found if path not in wanted]
    if wrong:
        raise ValueError(
            f"A soup is made of models of one architecture. Number {number} differs from number 0 in {listed(wrong)}."
        )
    return [found[path] for path in wanted]


def _assign(model, values):
    for slot, column in zip(slots(model), zip(*values, strict=True), strict=True):
        mean = np.mean(column, axis=0, dtype="float64") if _is_float(slot.variable) else column[0]
        slot.variable.assign(np.asarray(mean).astype(column[0].dtype))


def _scored(score, model, values):
    _assign(model, values)
    reached = float(score(model))
    if math.isnan(reached):
        raise ValueError("The score of a model is NaN; give a function of a model that returns a number.")
    return reached


def _is_float(variable):
    return "float" in str(variable.dtype)
