"""diagnose(): what is wrong between a task and its data, before the first step."""

import html
import textwrap

import keras

from tftransfer.data import read_texts
from tftransfer.finetuning import data_symptoms, model_symptoms
from tftransfer.finetuning.case import Case, Finding, read

__all__ = ["Diagnosis", "Finding", "diagnose"]

_CHECKS = {
    "examples": data_symptoms.examples,
    "input range": data_symptoms.input_range,
    "activation": model_symptoms.activation,
    "labels": data_symptoms.labels,
    "class balance": data_symptoms.class_balance,
    "batch norm": model_symptoms.batch_norm,
    "compile state": model_symptoms.compile_state,
    "learning rate": model_symptoms.learning_rate,
    "overlap": data_symptoms.overlap,
}


def diagnose(task, data, *, validation_data=None, pretraining_data=None, learning_rate=None, batch_size=32):
    """Looks for what goes wrong most often in fine-tuning, before the first step; changes nothing.

    - examples: a shape or number of channels that the model does not read, NaN, text;
    - input range: pictures rescaled twice or not at all, by the value range in the weights file that the
      backbone came from, the model's `Rescaling` layers, or else [0, 1];
    - activation: softmax or sigmoid in the head together with `from_logits=True`, or logits without it;
    - labels: written otherwise than the loss reads them, out of the head's range, fractional, missing;
    - class balance: a head wider than the classes there are, 10 or more times as many examples of one class
      as of another, classes that only `validation_data` holds;
    - batch norm: live BatchNormalization on batches below 16 examples, or on a last batch of one;
    - compile state: `trainable` changed after the compiled model was trained, which Keras ignores;
    - learning rate: above pretraining's, for a backbone that will move;
    - overlap: validation examples that stand in the data or in `pretraining_data` as well, exactly or nearly
      (`data.find_duplicates`), and one example with different labels.

    Each set of data is read at most twice. `trainable` flags are looked at as they stand.

    Reference: Schoop et al., "UMLAUT: Debugging Deep Learning Programs using Program Structure and Model
    Behavior", 2021, https://doi.org/10.1145/3411764.3445538

    Args:
        task: a `tasks.Task`, or any built `keras.Model` (then as it is compiled).
        data: labelled examples, as for `finetune`.
        validation_data: labelled examples to be compared with, or a test set.
        pretraining_data: what the backbone was pretrained on, with or without labels.
        learning_rate: the peak rate that the backbone will move with; None takes a compiled model's.
        batch_size: examples a step; a `tf.data.Dataset` of batches keeps its own.

    Returns:
        A `Diagnosis`: print it for a table, a notebook shows it by itself.

    Raises:
        ValueError: when `task` is no built Keras model, or `batch_size` no positive whole number.

    Example:

    >>> import numpy as np, tftransfer as tt
    >>> x = np.random.default_rng(0).uniform(0, 255, (40, 8, 8, 1)).astype("float32")
    >>> task = tt.tasks.Classifier(tt.backbones.cnn((8, 8, 1), filters=(4,)), num_classes=2)
    >>> [(found.level, found.check) for found in diagnose(task, (x, np.arange(40) % 2)).findings]
    [('error', 'input range')]
    """
    if not isinstance(task, keras.Model) or not task.built:
        raise ValueError(f"diagnose takes a task or a built keras.Model; received {task!r}.")
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size is a whole number from 1 up; received {batch_size!r}.")
    try:
        data, validation_data = (read_texts(part, task) for part in (data, validation_data))
        pretraining_data = read_texts(pretraining_data, task, name="pretraining_data")
        x, y, size, batch_size = read(data, task, batch_size)
        validation = validation_data
        if validation_data is not None:
            validation = (validation_data, read(validation_data, task, batch_size)[1])
    except ValueError as error:
        reason = "the data could not be read"
        found = [data_symptoms.from_error(error, "examples")]
        return Diagnosis(task.name, found, {name: reason for name in _CHECKS if name != "examples"})
    case = Case(task, data, x, y, size, batch_size, validation, pretraining_data, learning_rate)
    findings, skipped = [], {}
    for name, check in _CHECKS.items():
        found = check(case)
        if isinstance(found, str):
            skipped[name] = found
        else:
            findings += found
    return Diagnosis(task.name, findings, skipped)


class Diagnosis:
    """What `diagnose` found.

    Attributes:
        findings: tuple of `Finding(level, check, what, advice)`, errors first; level is "error" (training or
            its figures would be wrong) or "warning" (they may be worse than they need be).
        skipped: dict, check → why it could not be made.
        ok: whether there are no findings.

    Example:

    >>> print(Diagnosis("task", [Finding("warning", "labels", "they are few", "Label more.")], {}))
    task: 1 finding
    <BLANKLINE>
      warning  labels       they are few
                            → Label more.
    <BLANKLINE>
    in order: examples, input range, activation, class balance, batch norm, compile state, learning rate,
    overlap
    """

    def __init__(self, name, findings, skipped):
        self.name = name
        self.findings = tuple(sorted(findings, key=lambda finding: finding.level != "error"))
        self.skipped = dict(skipped)

    @property
    def ok(self):
        return not self.findings

    @property
    def _title(self):
        count = len(self.findings)
        return f"{self.name}: {count or 'no'} finding{'' if count == 1 else 's'}"

    @property
    def _notes(self):
        known = {*self.skipped, *(finding.check for finding in self.findings)}
        sound = [name for name in _CHECKS if name not in known]
        if sound:
            yield f"in order: {', '.join(sound)}"
        if self.skipped:
            yield "not looked at: " + ", ".join(f"{name} ({why})" for name, why in self.skipped.items())

    def __str__(self):
        lines = [self._title, ""] if self.findings else [self._title]
        for finding in self.findings:
            start = f"  {finding.level:<7}  {finding.check:<13}"
            lines.append(_wrapped(start, finding.what))
            lines.append(_wrapped(" " * len(start) + "→ ", finding.advice))
        return "\n".join([*lines, "", *(_wrapped("", note) for note in self._notes)])

    __repr__ = __str__

    def _repr_html_(self):
        cells = [
            "".join(f"<td style='text-align:left'>{html.escape(str(cell))}</td>" for cell in finding)
            for finding in self.findings
        ]
        head = "".join(f"<th style='text-align:left'>{name}</th>" for name in ("", "", "found", "advice"))
        table = "".join(f"<tr>{row}</tr>" for row in cells)
        table = f"<table><tr>{head}</tr>{table}</table>" if cells else ""
        notes = "".join(f"<div>{html.escape(note)}</div>" for note in self._notes)
        return f"<b>{html.escape(self._title)}</b>{table}{notes}"


def _wrapped(start, text):
    """The text behind `start`, wrapped to a terminal, its further lines below its first."""
    return textwrap.fill(text, 110, initial_indent=start, subsequent_indent=" " * len(start))
