"""evaluate(): a model on labelled data, turned into a report."""

import itertools
import warnings

import keras
import numpy as np

from tftransfer.data import batches, read_texts, rescales_pixels, steps_per_epoch
from tftransfer.evaluation.outputs import output_kind, to_probabilities
from tftransfer.evaluation.regression import RegressionReport
from tftransfer.evaluation.report import Report
from tftransfer.evaluation.text_reports import text_report
from tftransfer.layers import TokenIds
from tftransfer.tasks import Regressor


def evaluate(task, data, *, batch_size=256, class_names=None, top_k=(1, 5), verbose="auto"):
    """Runs a model over labelled examples and reports how good it is: accuracy, F1, confusion, calibration.

    Takes a `Classifier` or `Regressor` of this library, or any Keras classification model. Whether such a
    model's outputs are probabilities or logits is read off its last layer's activation (softmax, sigmoid,
    none) and stated in the report; a subclassed model's outputs are judged by their values. Sigmoid outputs
    with one column of labels per class are multi-label. Each example is read once, in order, uint8 pictures
    as float32 in [0, 1].

    Args:
        task: The model.
        data: `(x, y)`, `Examples`, or a `tf.data.Dataset` of batches `(x, y)`; x may be texts for a task that reads
            texts. Labels are integers, one-hot
            rows, or rows of 0 and 1 for several labels per example; for a `Regressor` they are numbers.
        batch_size: Examples per step, for data that is not batched yet.
        class_names: Names in the order of the classes; None takes those of `data`, else numbers.
        top_k: Which top-k accuracies to report, where there are more than k classes.
        verbose: 0 silent, 1 progress bar, "auto" 1.

    Returns:
        A `Report`; for a `Regressor` a `RegressionReport`, for a `Tagger` an `EntityReport`, for a `Seq2Seq` or
        `Generator` a `TextReport`.

    Raises:
        ValueError: Labels missing, out of range or of the wrong shape, no data, NaN in inputs or predictions.

    Example:
        >>> import numpy as np
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Softmax()])
        >>> report = evaluate(model, (np.eye(2, dtype="float32"), np.array([0, 1])), verbose=0)
        >>> report.metrics["accuracy"]
        1.0
    """
    if not isinstance(task, keras.Model):
        raise ValueError(
            f"evaluate takes a task or a Keras model; received {type(task).__name__}. "
            "A weights file becomes one by tasks.Classifier(path, num_classes=…)."
        )
    report = text_report(task, data, batch_size=min(batch_size, 64))
    if report is not None:
        return report
    if class_names is None:
        class_names = getattr(data, "class_names", None)
    outputs, labels = _predict(task, read_texts(data, task), batch_size, verbose)
    if isinstance(task, Regressor):
        return RegressionReport(labels, outputs, target_names=class_names)
    multi_label = getattr(task, "multi_label", None)
    if multi_label is None:
        sets = labels.ndim == 2 and labels.shape == outputs.shape and labels.shape[1] > 1
        several = sets and (labels.sum(1) != 1).any()
        multi_label = True if several else None if sets else False
    probabilities, multi_label, note = to_probabilities(outputs, output_kind(task), multi_label=multi_label)
    return Report(
        labels, probabilities, class_names=class_names, multi_label=multi_label, top_k=top_k, note=note
    )


def _predict(task, data, batch_size, verbose):
    """Outputs and labels of all examples, in order, from one pass over the data."""
    shape = getattr(getattr(task, "backbone", task), "input_shape", None)
    shape = shape[1:] if isinstance(shape, tuple) else None
    scale = not rescales_pixels(task)
    stream = iter(batches(data, batch_size=batch_size, scale=scale, input_shape=shape))
    labels, failures = [], []
    first = next(stream, None)
    if first is None:
        raise ValueError("there is nothing to evaluate: the data holds no examples.")

    def inputs():
        try:
            for batch in itertools.chain([first], stream):
                x, y = _pair(batch, len(labels))
                labels.append(y)
                yield (x,)
        except ValueError as error:  # inside predict it would come out wrapped in an engine's own error
            failures.append(error)

    _pair(first, 0)
    with warnings.catch_warnings():  # Keras warns of the natural end of a generator
        warnings.filterwarnings("ignore", message="Your input ran out of data")
        steps = steps_per_epoch(data, batch_size=batch_size, input_shape=shape)
        if isinstance(data, tuple) and isinstance(data[0], TokenIds):
            # Keras would take the length of a generator's first batches for that of all.
            outputs = task.predict(batches(data[0], batch_size=batch_size), steps=steps, verbose=verbose)
            labels = [np.asarray(data[1])]
        else:
            outputs = task.predict(inputs(), steps=steps, verbose=verbose)
    if failures:
        raise failures[0]
    if not isinstance(outputs, np.ndarray):
        raise ValueError(
            f"evaluate needs a model with one output; {task.name} gives {type(outputs).__name__}. "
            "Wrap the output you mean: keras.Model(model.input, model.output[…])."
        )
    labels = np.concatenate(labels)
    bad = (~np.isfinite(outputs.reshape(len(outputs), -1))).any(1)
    if bad.any():
        raise ValueError(
            f"the model's predictions are NaN or infinite for {bad.sum()} of {len(bad)} examples, although "
            "its inputs are finite: training has diverged. Train again with a lower learning rate, or load "
            "the weights of an earlier epoch."
        )
    return outputs, labels


def _pair(batch, number):
    """One batch's (x, y), with x in NumPy, checked."""
    if not isinstance(batch, (tuple, list)) or len(batch) < 2 or batch[1] is None:
        raise ValueError(
            "evaluation compares predictions with known labels, and this data has none. Give (x, y), or a "
            "dataset of (x, y) batches."
        )
    x, y = keras.tree.map_structure(np.asarray, tuple(batch[:2]))
    for array in keras.tree.flatten(x):
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise ValueError(
                f"the examples of batch {number} hold NaN or infinity; take them out or mend them."
            )
    return x, y
