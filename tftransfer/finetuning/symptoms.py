"""What can be wrong between a task and its data: one function a symptom, each giving findings or why it cannot look."""

import collections
import dataclasses

import keras
import numpy as np

from tftransfer import data as data_module
from tftransfer.data.duplicates import fingerprints, match

__all__ = ["CHECKS", "Case", "Finding"]

Finding = collections.namedtuple("Finding", "level check what advice")

_IMBALANCE = 10  # examples of the largest class to those of the smallest
_BATCH = (
    16  # below, the statistics of BatchNormalization are noise (Wu & He, 2018, arXiv 1803.08494, figure 5)
)
_OFF = 4  # how many times too large or small a range is before it is no accident


@dataclasses.dataclass
class Case:
    """What the checks look at."""

    model: keras.Model
    data: object
    x: object  # a few hundred examples, as the model gets them
    y: np.ndarray | None
    size: int
    was_bytes: bool  # whether x was uint8
    batch_size: int
    validation: tuple | None  # the data and their labels
    pretraining: object
    learning_rate: float | None

    @property
    def backbone(self):
        return getattr(self.model, "backbone", self.model)

    @property
    def units(self):
        shape = (
            self.model.output_shape if self.head is self.model else self.head.compute_output_shape((None, 1))
        )
        return shape[-1] if isinstance(shape, tuple) else None

    @property
    def head(self):
        return getattr(self.model, "head", None) or self.model

    @property
    def input_shape(self):
        shape = self.backbone.input_shape
        return shape[1:] if isinstance(shape, tuple) else None

    @property
    def one_hot(self):
        return self.y is not None and self.y.ndim == 2 and self.y.shape[1] > 1

    def loss(self):
        """`(kind, from_logits)` of the compiled loss, or the task's own; kind is None for no cross-entropy."""
        loss = self.model.loss if self.model.compiled else None
        if loss is None and hasattr(self.model, "default_loss"):
            loss = self.model.default_loss(one_hot=self.one_hot)
        name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
        name = name.lower().replace("_", "")
        if "entropy" not in name:
            return None, None
        kind = next((word for word in ("sparse", "categorical", "binary") if word in name), None)
        try:
            return kind, bool(loss.get_config().get("from_logits"))
        except (AttributeError, NotImplementedError, TypeError):
            return kind, None if callable(loss) and not hasattr(
                loss, "get_config"
            ) and kind is None else False


def examples(case):
    """Shape and channels, NaN, text."""
    try:
        data_module.check_examples(case.x, input_shape=case.input_shape, value_range=None)
    except ValueError as error:
        return [_from_error(error, "examples")]
    return []


def input_range(case):
    """Double or missing rescaling, against the weights file's record and the model's Rescaling layers."""
    if isinstance(case.x, dict) or case.x.dtype.kind != "f":
        return "the input is no single array of numbers"
    pictures = case.x.ndim == 4 and case.x.shape[-1] in (1, 3, 4)
    scales = _rescalings(case.model)
    if len([scale for scale, _ in scales if abs(scale) <= 0.1]) > 1:
        what = (
            f"the model rescales {len(scales)} times (Rescaling layers with scales {[s for s, _ in scales]})"
        )
        return [Finding("error", "input range", what, "Leave one of the Rescaling layers out.")]
    recorded = (getattr(case.model, "preprocessing", None) or {}).get("value_range")
    if recorded is not None:
        wanted, origin = tuple(recorded), "as its weights file says, was pretrained on"
    elif scales and pictures:
        scale, offset = scales[0]
        wanted = tuple(sorted(((-1.0 if offset < 0 else 0.0) - offset) / scale for offset in (offset,)))
        wanted = (wanted[0], (1.0 - offset) / scale)
        origin = f"by its Rescaling layer (scale {scale:.4g}) expects"
    elif pictures:
        wanted, origin = (0.0, 1.0), "having no Rescaling layer, expects"
    else:
        return "neither a record of preprocessing nor pictures"
    return _compare_ranges(case, wanted, origin, pictures)


def _compare_ranges(case, wanted, origin, pictures):
    low, high = float(np.nanmin(case.x)), float(np.nanmax(case.x))
    size, expected = max(abs(low), abs(high)), max(abs(wanted[0]), abs(wanted[1]), 1e-12)
    seen = f"the model gets values in [{low:.4g}, {high:.4g}]; it {origin} [{wanted[0]:.4g}, {wanted[1]:.4g}]"
    if size > _OFF * expected:
        cure = "Divide by 255 (x / 255.0), or hand over uint8 pictures, which are scaled for you."
        cure = cure if pictures else "Bring the features to the scale that was pretrained on."
        return [Finding("error", "input range", f"{seen}: rescaling is missing", cure)]
    if size * _OFF < expected:
        cure = "Rescale once: hand over the values as they were before, or take the Rescaling layer out."
        return [Finding("error", "input range", f"{seen}: it is rescaled twice", cure)]
    span = wanted[1] - wanted[0]
    if pictures and (low < wanted[0] - 0.1 * span) != (low > wanted[0] + 0.4 * span and high <= wanted[1]):
        cure = f"Shift and scale the pictures to [{wanted[0]:.4g}, {wanted[1]:.4g}], as in pretraining."
        return [Finding("warning", "input range", f"{seen}: the range is shifted", cure)]
    return []


def _rescalings(model):
    """`(scale, offset)` of the Rescaling layers that hold one number each, in the order of the layers."""
    found = []
    for layer in model._flatten_layers(include_self=True, recursive=True):
        if isinstance(layer, keras.layers.Rescaling) and np.ndim(layer.scale) == np.ndim(layer.offset) == 0:
            found.append((float(layer.scale), float(layer.offset)))
    return found


def activation(case):
    """The last activation against the loss's `from_logits`."""
    from tftransfer.evaluation.outputs import output_kind  # evaluation stands on fine-tuning

    kind, from_logits = case.loss()
    if kind is None:
        return "the loss is no cross-entropy"
    last = output_kind(case.head)
    if last is None:
        return "the last layer does not say its activation"
    found = []
    if last != "logits" and from_logits:
        what = f"the head ends in {last}, and the loss (from_logits=True) applies it once more"
        cure = "Take the activation out of the head (a task's outputs are logits), or use from_logits=False."
        found.append(Finding("error", "activation", what, cure))
    elif last == "logits" and from_logits is False:
        what = "the head gives logits, and the loss (from_logits=False) takes them for probabilities"
        found.append(Finding("error", "activation", what, "Compile with a loss that has from_logits=True."))
    if (kind == "binary") == (last == "softmax") and last != "logits":
        what = f"the head ends in {last}, which does not go with {kind} cross-entropy"
        cure = "softmax goes with (sparse) categorical cross-entropy, sigmoid with binary cross-entropy."
        found.append(Finding("error", "activation", what, cure))
    if case.units == 1 and (last == "softmax" or kind != "binary"):
        what = "softmax over a single output is always 1: nothing can be learned"
        cure = "Use two outputs, or one with binary cross-entropy."
        found.append(Finding("error", "activation", what, cure))
    return found


def labels(case):
    """How labels are written, against the loss and the width of the head."""
    if case.y is None:
        cure = "Give a pair (x, y), or a tf.data.Dataset of pairs."
        return [Finding("error", "labels", "the data has no labels", cure)]
    kind, _ = case.loss()
    if not hasattr(case.model, "default_loss") and kind is None:
        return "the loss is no cross-entropy"
    several = bool(getattr(case.model, "multi_label", False))
    task = "regression" if kind is None else "multi_label" if several else "classification"
    if kind == "binary" and case.one_hot:
        task = "multi_label"
    found = []
    compiled = case.model.compiled
    rows = "one row a class" if case.one_hot else "class numbers"
    if compiled and ((kind == "sparse" and case.one_hot) or (kind == "categorical" and not case.one_hot)):
        what = f"the labels are {rows} {case.y.shape}, and the compiled loss is {kind} cross-entropy"
        right = "CategoricalCrossentropy" if case.one_hot else "SparseCategoricalCrossentropy"
        cure = f"Compile with keras.losses.{right} (finetune does so itself)."
        found.append(Finding("error", "labels", what, cure))
    try:
        data_module.check_labels(case.y, num_classes=case.units, task=task)
    except ValueError as error:
        found.append(_from_error(error, "labels"))
    return found


def class_balance(case):
    """Classes that are rare, missing from the data, or in the validation data alone."""
    counts = _class_counts(case.y)
    if counts is None or case.loss()[0] is None:
        return "the labels are no classes"
    found = []
    width = case.units if case.units and case.units > 1 else 2
    missing = [c for c in range(width) if not counts.get(c)]
    if missing and len(counts) > 1:
        what = f"the head has {width} outputs, and the labels lack {len(missing)} classes: {_some(missing)}"
        cure = f"If these classes do not exist, use num_classes={width - len(missing)} and number them anew."
        found.append(Finding("warning", "head width", what, cure))
    present = {c: n for c, n in counts.items() if n}
    most, least = max(present, key=present.get), min(present, key=present.get)
    if present[most] >= _IMBALANCE * present[least]:
        what = f"class {most} has {present[most]} examples and class {least} {present[least]}"
        cure = 'Weigh the classes (class_weight="balanced"), and judge by macro F1, not by accuracy.'
        found.append(Finding("warning", "class balance", what, cure))
    others = _class_counts(case.validation[1]) if case.validation else None
    unknown = sorted(c for c, n in (others or {}).items() if n and not counts.get(c))
    if unknown:
        what = f"validation_data holds {len(unknown)} classes that the data does not: {_some(unknown)}"
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
    if (values != np.round(values)).any() or len(values) > max(100, len(y) // 2):
        return None
    return dict(zip(values.astype(int).tolist(), counts.tolist(), strict=True))


def batch_norm(case):
    """BatchNormalization that uses the statistics of small batches."""
    found = [
        layer for layer in case.model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)
    ]
    live = [layer.name for layer in found if layer.trainable]
    if not live:
        return []
    batch = min(case.batch_size, case.size)
    last = case.size % batch
    cure = (
        'Freeze their statistics (batch_norm="frozen" in the Stage, or linear_probe), or use larger batches.'
    )
    if batch < _BATCH:
        what = (
            f"{len(live)} BatchNormalization layers are live ({_some(live)}) on batches of {batch} examples"
        )
        return [Finding("warning", "batch norm", what, cure)]
    if last == 1:
        what = (
            f"{len(live)} BatchNormalization layers are live, and the last batch of an epoch holds 1 example"
        )
        return [
            Finding(
                "warning", "batch norm", what, f"Take another batch_size than {batch}, or drop an example."
            )
        ]
    return []


def compile_state(case):
    """Whether what is trainable has changed since the model was compiled and built its optimizer."""
    optimizer = getattr(case.model.optimizer, "inner_optimizer", case.model.optimizer)
    if not case.model.compiled or optimizer is None or not optimizer.built:
        return "the model has not been trained since it was compiled"
    before = {id(v) for v in optimizer._trainable_variables}
    now = {id(v): v.path for v in case.model.trainable_variables}
    thawed = [path for key, path in now.items() if key not in before]
    frozen = len(before - set(now))
    if not thawed and not frozen:
        return []
    what = f"`trainable` changed after compile: {len(thawed)} variables would stay still and {frozen} go on moving"
    cure = "Compile again after changing `trainable` (finetune compiles each stage itself)."
    return [Finding("error", "compile state", what, cure)]


def learning_rate(case):
    """The backbone's learning rate against that of its pretraining."""
    pretraining = getattr(case.model, "pretraining_learning_rate", None)
    rate = case.learning_rate
    if rate is None and case.model.compiled and case.backbone.trainable_variables:
        rate = _rate_of(case.model.optimizer)
    if pretraining is None or rate is None:
        return "no learning rate to compare" if pretraining else "the rate of pretraining is not known"
    if rate <= pretraining:
        return []
    what = f"the learning rate {rate:g} is above pretraining's {pretraining:g}: it overwrites what was pretrained"
    cure = f"Begin with a tenth of pretraining's, {pretraining / 10:g}, or find one by tftransfer.lr_find."
    return [Finding("warning", "learning rate", what, cure)]


def _rate_of(optimizer):
    schedule = getattr(optimizer, "_learning_rate", None)
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return max(float(schedule(step)) for step in (0, 1, 10, 100, 1000, 10_000))
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))


def overlap(case):
    """Validation examples among the training or pretraining ones; one example with two labels."""
    prints = {"the data": fingerprints(case.data, input_shape=case.input_shape)}
    found = list(_contradictions(prints["the data"].digests, case.y))
    if case.validation is None:
        return found or "no validation_data"
    if case.pretraining is not None:
        prints["pretraining_data"] = fingerprints(case.pretraining, input_shape=case.input_shape)
    tested = fingerprints(case.validation[0], input_shape=case.input_shape)
    for name, reference in prints.items():
        pairs = match(tested, reference)
        exact = [pair.row for pair in pairs if pair.similarity == 1]
        near = [pair.row for pair in pairs if pair.similarity < 1]
        for rows, how in ((exact, "also stand"), (near, "stand, nearly the same,")):
            if rows:
                share = f"{len(rows)} of {len(tested)} examples of validation_data"
                what = f"{share} {how} in {name} (rows {_some(rows)}): figures on them are too good"
                cure = "Take these rows out: tftransfer.data.find_duplicates(validation_data, ...) lists all."
                found.append(Finding("warning", "overlap", what, cure))
    return found


def _contradictions(digests, y):
    if y is None or len(y) != len(digests):
        return
    _, group = np.unique(digests, return_inverse=True)
    classes = np.unique(y.reshape(len(y), -1), axis=0, return_inverse=True)[1].reshape(-1)
    pairs = np.unique(np.stack([group, classes], axis=1), axis=0)
    several = np.flatnonzero(np.bincount(pairs[:, 0]) > 1)
    if len(several):
        rows = np.flatnonzero(np.isin(group, several))
        what = f"{len(several)} examples stand in the data more than once with different labels (rows {_some(rows)})"
        yield Finding("warning", "overlap", what, "Look at them, and keep the right label or none.")


def _some(items, limit=5):
    items = list(items)
    more = f", ... ({len(items)} in all)" if len(items) > limit else ""
    return ", ".join(str(item) for item in items[:limit]) + more


def _from_error(error, check):
    what, _, cure = str(error).partition(". ")
    return Finding("error", check, what.rstrip("."), cure or "Correct it before training.")


CHECKS = {
    "examples": examples,
    "input range": input_range,
    "activation": activation,
    "labels": labels,
    "class balance": class_balance,
    "batch norm": batch_norm,
    "compile state": compile_state,
    "learning rate": learning_rate,
    "overlap": overlap,
}
