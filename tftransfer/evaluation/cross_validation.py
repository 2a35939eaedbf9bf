"""cross_validate(): every example is tested once by a model that has not seen it; what is frozen runs once for all."""

import html
import time

import keras
import numpy as np
from scipy.special import stdtrit
from sklearn.model_selection import KFold, StratifiedKFold

from tftransfer.data import Examples, read_texts
from tftransfer.data.batches import to_columns
from tftransfer.data.dataset_batches import is_dataset
from tftransfer.evaluation.evaluate import evaluate
from tftransfer.evaluation.intervals import Interval
from tftransfer.evaluation.saving import Result
from tftransfer.evaluation.tables import html_table, text_table
from tftransfer.finetuning import finetune
from tftransfer.finetuning.caching import Shared
from tftransfer.finetuning.heads import build_head, renew_head
from tftransfer.tasks.task import Task

_SHOWN = ("accuracy", "f1_macro", "log_loss", "expected_calibration_error", "label_accuracy")


class CrossValidation(Result):
    """The reports of all folds, and each figure's mean with an interval. Made by `cross_validate`.

    Each interval is `mean ± t(k - 1, 0.975) · s · √(1/k + 1/(k - 1))`, s the standard deviation over the k
    folds: the second term under the root is for the training examples that the folds share, without which
    intervals come out too narrow.

    Reference: Nadeau & Bengio, "Inference for the Generalization Error", Machine Learning 52 (2003),
    https://doi.org/10.1023/A:1024068626366

    Args:
        folds: A `Report` (or `RegressionReport`) for each fold.
        seconds: Seconds that each fold took.

    Attributes:
        folds, seconds: As given.
        metrics: Dict of name → `Interval`.

    Example:
        >>> from tftransfer.evaluation import Report
        >>> folds = [Report([0, 1, 1, 0], [0.1, 0.9, p, 0.2]) for p in (0.8, 0.4, 0.7)]
        >>> print(f"{CrossValidation(folds).metrics['accuracy']:.2f}")
        0.92 ± 0.57
    """

    _figure_size = (7.0, 4.2)

    def __init__(self, folds, seconds=()):
        if len(folds) < 2:
            raise ValueError(
                f"cross-validation needs the reports of two folds or more; received {len(folds)}."
            )
        self.folds, self.seconds = list(folds), list(seconds)
        names = [name for name in self.folds[0].metrics if all(name in fold.metrics for fold in self.folds)]
        values = {
            name: np.array([fold.metrics[name] for fold in self.folds]) for name in names if name != "n"
        }
        self.metrics = {name: _interval(value) for name, value in values.items()}

    def to_dict(self):
        """Everything as nested dicts and lists."""
        return {
            "metrics": {name: interval._asdict() for name, interval in self.metrics.items()},
            "folds": [fold.to_dict() for fold in self.folds],
            "seconds": self.seconds,
        }

    def _tables(self):
        shown = [name for name in _SHOWN if name in self.metrics] or list(self.metrics)
        header = ["fold", "examples", *(name.replace("_", " ") for name in shown)]
        body = [
            [f"{number + 1}", f"{_size(fold)}", *(f"{fold.metrics[name]:.4f}" for name in shown)]
            for number, fold in enumerate(self.folds)
        ]
        mean = ["mean", f"{sum(map(_size, self.folds))}", *(f"{self.metrics[name]:.3f}" for name in shown)]
        title = f"{len(self.folds)} folds; mean ± half-width of the 95% interval (Nadeau and Bengio's)"
        return title, header, [*body, [], mean]

    def __str__(self):
        title, header, body = self._tables()
        return f"{title}\n\n{text_table(header, body)}"

    def __repr__(self):
        name = next(iter(self.metrics))
        return f"<CrossValidation of {len(self.folds)} folds: {name} {self.metrics[name]:.4f}>"

    def _repr_html_(self):
        title, header, body = self._tables()
        return f"<b>{html.escape(title)}</b>{html_table(header, body)}"

    def _draw(self, figure):
        axes = figure.subplots()
        name = next(iter(self.metrics))
        interval = self.metrics[name]
        axes.plot(range(1, len(self.folds) + 1), [fold.metrics[name] for fold in self.folds], "o")
        axes.axhline(interval.mean)
        axes.axhspan(interval.low, interval.high, alpha=0.15)
        axes.set_xticks(range(1, len(self.folds) + 1))
        axes.set_xlabel("fold")
        axes.set_ylabel(name.replace("_", " "))
        axes.set_title(f"{name.replace('_', ' ')} {interval:.3f}")


def cross_validate(
    task,
    data,
    *,
    folds=5,
    policy=None,
    batch_size=32,
    seed=0,
    cache="auto",
    cache_dtype="float32",
    verbose="auto",
    **options,
):
    """Fine-tunes on all folds but one and reports on that one, for each fold in turn.

    The folds are stratified by class (scikit-learn's `StratifiedKFold`; plain `KFold` for a `Regressor` and
    for several labels per example). Every fold begins with the same backbone and a fresh head; nothing is
    chosen by the fold that is tested. While a stage's frozen part is the pretrained one, its features are
    computed once for all examples and shared by all folds. A task that was handed over has its own weights
    again afterwards.

    Args:
        task: A `tasks.Task`, or a function without arguments that makes one, for each fold anew.
        data: Labelled examples `(x, y)` in memory.
        folds: Number of folds, at least 2 and at most the examples of the smallest class.
        policy: As for `finetune`; None is the same `linear_probe() + full()`.
        batch_size: Examples per step.
        seed: Of the folds; fold i's head and order of examples are drawn by `seed + i`.
        cache, cache_dtype: As for `finetune`.
        verbose: 0 silent, 1 a progress bar over the folds, "auto" 1.
        **options: Other arguments of `finetune`, such as `optimizer`.

    Returns:
        A `CrossValidation`: print it, `plot()` it, `to_json()` it, read its `metrics` and `folds`.

    Raises:
        ValueError: Data that are no pair of arrays, too few examples for so many folds, or what `finetune`
            refuses.

    Example:
        >>> import tftransfer as tt
        >>> random = np.random.default_rng(0)
        >>> x, y = random.normal(size=(60, 4)).astype("float32"), np.arange(60) % 3
        >>> task = tt.tasks.Classifier(tt.backbones.mlp((4,), units=(8,)), num_classes=3)
        >>> found = tt.evaluation.cross_validate(task, (x, y), folds=3, policy=tt.policies.linear_probe(2), verbose=0)
        >>> len(found.folds), found.metrics["accuracy"].n
        (3, 3)
    """
    if not isinstance(task, Task) and (isinstance(task, keras.Model) or not callable(task)):
        raise ValueError(f"cross_validate takes a task, or a function that makes one; received {task!r}.")
    given = task if isinstance(task, Task) else None
    first = task() if given is None else task
    x, y = _arrays(read_texts(data, first))
    build_head(first, (x, y))
    parts = _folds(first, x, y, folds, seed)
    start = first.get_weights()
    shared = Shared(x, cache, dtype=cache_dtype, draws=options.pop("augmentation_draws", None), seed=seed)
    bar = keras.utils.Progbar(len(parts), unit_name="fold", verbose=1) if verbose else None
    reports, seconds = [], []
    try:
        for number, (training, tested) in enumerate(parts):
            begun = time.perf_counter()
            keras.utils.set_random_seed(seed + number)
            if given is None:
                first = task() if number else first
                build_head(first, (x, y))
            else:
                first.set_weights(start)
                renew_head(first)
            few = Examples(x[training], y[training])
            shared.choose(training)
            finetune(
                first,
                few,
                policy=policy,
                batch_size=batch_size,
                seed=seed + number,
                cache=shared,
                verbose=0,
                **options,
            )
            names = getattr(data, "class_names", None)
            reports.append(evaluate(first, (x[tested], y[tested]), class_names=names, verbose=0))
            seconds.append(time.perf_counter() - begun)
            if bar:
                bar.add(1)
    finally:
        shared.close()
        if given is not None:
            given.set_weights(start)
    return CrossValidation(reports, seconds)


def _arrays(data):
    if is_dataset(data) or not isinstance(data, tuple) or len(data) != 2 or data[1] is None:
        raise ValueError(
            f"cross_validate needs labelled examples (x, y) in memory, to divide them; received {type(data).__name__}."
        )
    (x, y), _ = to_columns(data)
    return x, y


def _folds(task, x, y, folds, seed):
    """Pairs of places `(training, tested)`."""
    whole = isinstance(folds, int) and not isinstance(folds, bool)
    if not whole or not 2 <= folds <= len(y):
        raise ValueError(
            f"folds is a whole number from 2 to the number of examples, {len(y)}; received {folds!r}."
        )
    if hasattr(task, "num_classes") and not getattr(task, "multi_label", False):
        classes = Examples(x, y).classes()
        smallest = np.unique(classes, return_counts=True)[1].min()
        if smallest < folds:
            raise ValueError(
                f"The smallest class has {smallest} examples, too few for {folds} folds. Give folds={max(smallest, 2)} "
                "or fewer, or more examples."
            )
        divide = StratifiedKFold(folds, shuffle=True, random_state=seed)
        return list(divide.split(np.zeros(len(y)), classes))
    return list(KFold(folds, shuffle=True, random_state=seed).split(np.zeros(len(y))))


def _interval(values):
    n = len(values)
    half = stdtrit(n - 1, 0.975) * values.std(ddof=1) * np.sqrt(1 / n + 1 / (n - 1))
    return Interval(float(values.mean()), float(values.mean() - half), float(values.mean() + half), n)


def _size(report):
    return len(report.labels)
