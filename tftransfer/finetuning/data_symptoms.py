"""What can be wrong with data for a task. Each check gives its findings, or says in words why it cannot look."""

import keras
import numpy as np

from tftransfer import data as data_module
from tftransfer.data.dataset_batches import is_dataset
from tftransfer.data.duplicates import fingerprints, match
from tftransfer.finetuning.case import Finding, some

__all__ = ["class_balance", "examples", "from_error", "input_range", "labels", "overlap"]

_IMBALANCE = 10  # examples of the largest class to those of the smallest
_OFF, _OFF_TABLE = 4, 20  # how many times too large or small values are before it is no accident


def from_error(error, check):
    """A finding from an error of the library's: its first sentence says what, the rest what to do."""
    what, _, cure = str(error).partition(". ")
    return Finding("error", check, what.rstrip("."), cure or "Correct it before training.")


def examples(case):
    """Shape, channels, NaN and infinity, text."""
    try:
        data_module.check_examples(case.data, input_shape=case.input_shape, value_range=None)
    except ValueError as error:
        return [from_error(error, "examples")]
    return []


def input_range(case):
    """Double or missing rescaling, against the weights file's record and the model's Rescaling layers."""
    if isinstance(case.x, dict) or not np.issubdtype(case.x.dtype, np.number):
        return "the input is no single array of numbers"
    pictures = case.x.ndim == 4 and case.x.shape[-1] in (1, 3, 4)
    strong = [(scale, offset) for scale, offset in _rescalings(case.model) if 0 < scale <= 0.1]
    recorded = (getattr(case.model, "preprocessing", None) or {}).get("value_range")
    if len(strong) > 1:
        what = f"the model itself rescales {len(strong)} times (scales {some(f'{s:.4g}' for s, _ in strong)})"
        return [Finding("error", "input range", what, "Leave all of its Rescaling layers out but one.")]
    if recorded is not None:
        wanted, origin = tuple(recorded), "its backbone was pretrained on"
    elif strong and pictures:
        ((scale, offset),) = strong
        wanted = ((-1 if offset < 0 else 0) - offset) / scale, (1 - offset) / scale
        origin = f"its Rescaling layer ({scale:.4g}) is made for"
    elif pictures:
        wanted, origin = (0.0, 1.0), "having no Rescaling layer, it takes"
    else:
        return "there is neither a record of preprocessing nor a picture"
    return _compare_ranges(case.x, wanted, origin, pictures)


def _compare_ranges(x, wanted, origin, pictures):
    low, high = float(np.nanmin(x)), float(np.nanmax(x))
    size, expected = max(abs(low), abs(high)), max(abs(wanted[0]), abs(wanted[1]), 1e-12)
    span, off = wanted[1] - wanted[0], _OFF if pictures else _OFF_TABLE
    target = f"[{wanted[0]:.4g}, {wanted[1]:.4g}]"
    seen = f"the model gets values in [{low:.4g}, {high:.4g}]; {origin} {target}"
    if size > off * expected:
        cure = f"Bring the values to {target}: x / 255.0, or uint8 pictures, which are scaled for you."
        cure = cure if pictures else f"Bring the features to {target}, as in pretraining."
        return [Finding("error", "input range", f"{seen}: rescaling is missing", cure)]
    if size * off < expected:
        cure = "Rescale once only: hand the values over as they were, or take the Rescaling layer out."
        return [Finding("error", "input range", f"{seen}: it is rescaled twice", cure)]
    if pictures and (low < wanted[0] - 0.1 * span or (low >= 0 and wanted[0] < -0.1 * span)):
        cure = f"Shift and scale the pictures to {target}."
        return [Finding("warning", "input range", f"{seen}: the range is shifted", cure)]
    return []


def _rescalings(model):
    """`(scale, offset)` of the Rescaling layers that hold one number each."""
    for layer in model._flatten_layers(include_self=True, recursive=True):
        if isinstance(layer, keras.layers.Rescaling) and np.ndim(layer.scale) == np.ndim(layer.offset) == 0:
            yield float(layer.scale), float(layer.offset)


def labels(case):
    """How labels are written, against the loss and the width of the head."""
    if case.y is None:
        cure = "Give a pair (x, y), or a tf.data.Dataset of pairs."
        return [Finding("error", "labels", "the data has no labels", cure)]
    kind, _ = case.loss
    if case.y.ndim > 2 or (kind is None and not hasattr(case.model, "num_outputs")):
        return "labels of this kind of task are not looked at"
    several = getattr(case.model, "multi_label", False) or (kind == "binary" and (case.units or 1) > 1)
    task = "multi_label" if several else "classification" if kind else "regression"
    found, rows = [], case.rows_of_labels
    if case.model.compiled and ((kind == "sparse" and rows) or (kind == "categorical" and not rows)):
        what = f"the labels have shape {case.y.shape}, and the compiled loss is {kind} cross-entropy"
        right = "CategoricalCrossentropy" if rows else "SparseCategoricalCrossentropy"
        cure = f"Compile with keras.losses.{right} (finetune does so itself)."
        found.append(Finding("error", "labels", what, cure))
    try:
        data_module.check_labels(case.y, num_classes=case.units, task=task)
    except ValueError as error:
        found.append(from_error(error, "labels"))
    return found


def class_balance(case):
    """A head wider than the labels; classes that are rare, or in the validation data alone."""
    counts = _class_counts(case.y)
    if counts is None or case.loss[0] is None or case.units is None:
        return "the labels are no classes"
    found = []
    width = max(case.units, 2)
    missing = [c for c in range(width) if not counts.get(c)]
    if missing and max(counts) < width:
        what = f"the head is made for {width} classes, and {len(missing)} have no example: {some(missing)}"
        cure = (
            f"If they do not exist, make the head for {width - len(missing)} and number the classes from 0."
        )
        found.append(Finding("warning", "head width", what, cure))
    present = {c: n for c, n in counts.items() if n}
    most, least = max(present, key=present.get), min(present, key=present.get)
    if present[most] >= _IMBALANCE * present[least]:
        what = f"class {most} has {present[most]} examples, and class {least} has {present[least]}"
        cure = 'Weigh the classes (class_weight="balanced"), and judge by macro F1 rather than by accuracy.'
        found.append(Finding("warning", "class balance", what, cure))
    others = _class_counts(case.validation[1]) if case.validation else None
    unknown = sorted(c for c, n in (others or {}).items() if n and not counts.get(c))
    if unknown:
        what = f"validation_data holds {len(unknown)} classes that the data does not: {some(unknown)}"
        cure = "Split the data again, stratified (Examples.split), or leave these examples out."
        found.append(Finding("warning", "class balance", what, cure))
    return found


def _class_counts(y):
    """`{class: examples}`; None where labels are no classes."""
    if y is None or y.dtype.kind not in "iufb" or y.ndim > 2 or not np.isfinite(y).all():
        return None
    if y.ndim == 2 and y.shape[1] > 1:
        return dict(enumerate((y > 0.5).sum(axis=0).tolist()))
    values, counts = np.unique(y, return_counts=True)
    if (values != np.round(values)).any():
        return None
    return dict(zip(values.astype(int).tolist(), counts.tolist(), strict=True))


def overlap(case):
    """Validation examples among the training or pretraining ones; one example with two labels."""
    shape = {"input_shape": case.input_shape}
    prints = {"the data": fingerprints(case.data, **shape)}
    found = [] if is_dataset(case.data) else _contradictions(prints["the data"].digests, case.y)
    if case.validation is None:
        return found or "no validation_data"
    if case.pretraining is not None:
        prints["pretraining_data"] = fingerprints(case.pretraining, **shape)
    tested = fingerprints(case.validation[0], **shape)
    for name, reference in prints.items():
        pairs = match(tested, reference)
        exact = [pair.row for pair in pairs if pair.similarity == 1]
        near = [pair.row for pair in pairs if pair.similarity < 1]
        for rows, how in ((exact, "stand"), (near, "stand, nearly the same,")):
            if rows:
                what = (
                    f"{len(rows)} of the {len(tested)} examples of validation_data {how} in {name} as well "
                )
                what += f"(rows {some(rows)}): figures on them are too good"
                cure = (
                    "Take these rows out; tftransfer.data.find_duplicates(validation_data, ...) lists them."
                )
                found.append(Finding("warning", "overlap", what, cure))
    return found


def _contradictions(digests, y):
    """One example with several labels."""
    if y is None:
        return []
    _, group = np.unique(digests, return_inverse=True)
    _, kind = np.unique(y.reshape(len(y), -1), axis=0, return_inverse=True)
    pairs = np.unique(np.stack([group, kind.reshape(-1)], axis=1), axis=0)
    several = np.flatnonzero(np.bincount(pairs[:, 0]) > 1)
    if not len(several):
        return []
    rows = np.flatnonzero(np.isin(group, several))
    what = (
        f"{len(several)} examples stand in the data more than once, with different labels (rows {some(rows)})"
    )
    return [Finding("warning", "overlap", what, "Look at them, and keep the right label or none.")]
