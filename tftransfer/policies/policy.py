"""What every fine-tuning policy is: a list of stages, each saying which variables move and how fast."""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping

__all__ = ["ByDepth", "Context", "OneCycle", "Policy", "Stage"]

_BATCH_NORM = ("auto", "frozen", "live")
_SCHEDULES = ("cosine", "constant", "one_cycle")
_INIT = (None, "ridge")


@dataclasses.dataclass(frozen=True)
class Context:
    """What a rule may look at when its stage begins.

    Attributes:
        task: the task, in the state that the stages before have left it in.
        paths: `{path: keras.Variable}` of the variables that may be trained.
        groups: the same paths in groups from the input to the output, a list of lists; the last group is the
            head.
        ends: the layers whose outputs end the groups below the head; None where a group ends inside a
            subclassed layer.
        gradient_norms: function without arguments that gives `{path: norm}`, the norm of the loss's gradient
            on the labelled data; None while a policy is only being checked.
    """

    task: object
    paths: Mapping
    groups: list
    ends: list = dataclasses.field(default_factory=list)
    gradient_norms: Callable | None = None

    def per_group(self, multipliers):
        """Rules that give each group its multiplier.

        Args:
            multipliers: one number per group, from the input to the head.

        Returns:
            `{regex: multiplier}`.
        """
        return {
            "^(?:" + "|".join(re.escape(path) for path in group) + ")$": value
            for group, value in zip(self.groups, multipliers, strict=True)
        }


@dataclasses.dataclass(frozen=True)
class ByDepth:
    """Rules for `Stage`: each group moves slower than the one above it, by `factor ** distance to head`.

    With `whole=True` the distance of the group at the input is 1, however deep the backbone is.
    """

    factor: float
    whole: bool = False

    def __call__(self, context):
        top = len(context.groups) - 1
        unit = max(top, 1) if self.whole else 1
        return context.per_group([self.factor ** ((top - i) / unit) for i in range(top + 1)])


@dataclasses.dataclass(frozen=True)
class OneCycle:
    """A schedule for `Stage`: half a cosine up from `rate / div` in the share `warm_up` of the steps, one down after.

    It ends at `rate / final_div`. Reference: Smith & Topin, "Super-Convergence", 2018, https://arxiv.org/abs/1708.07120
    """

    warm_up: float = 0.25
    div: float = 25.0
    final_div: float = 1e5

    def __post_init__(self):
        if not (0 <= self.warm_up < 1 and self.div >= 1 and self.final_div >= 1):
            raise ValueError(
                f"OneCycle: warm_up lies in [0, 1), div and final_div from 1 up; received {self}."
            )


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of fine-tuning: *regex on variable path → learning-rate multiplier*, epochs, learning rate.

    A variable moves with `learning_rate × multiplier`; 0 freezes it. Paths begin with the part of the task:
    `"backbone/..."`, `"pool/..."`, `"head/..."` (`tftransfer.finetuning.variable_paths(task)` lists them).
    The first pattern that is found in a path (`re.search`) decides; a variable that no pattern covers, a
    pattern that is found in no path and a stage that trains nothing are errors.

    Args:
        name: what the stage is called in summaries and in the history.
        multipliers: `{regex: multiplier}` in order, or a function of the `Context` that returns such a dict
            (for rules that depend on the depth of the backbone).
        epochs: passes over the data.
        learning_rate: rate of a variable with multiplier 1, reached after the warm-up. None: that of the
            `optimizer` given to `finetune`, else `rate_factor` times that of full tuning: a third of pretraining's
            (`task.pretraining_learning_rate`) but at most 1e-3, and 1e-4 where that is not known.
        schedule: `"cosine"` (linear warm-up over the first tenth of the steps, then cosine to 0),
            `"constant"`, or `"one_cycle"` (a `OneCycle`, which may be given too).
        batch_norm: `"auto"`: a BatchNormalization layer of which nothing is trained runs in inference mode
            and keeps its statistics, any other is live; `"frozen"`: every one in the backbone runs in
            inference mode, its scale and offset still following `multipliers`; `"live"`: every one uses and
            updates batch statistics.
        prepare: function of the `Context`, called before the stage compiles (to insert adapters, to add a
            penalty); what it returns, if anything, is called without arguments when the stage has ended.
        init: None, or `"ridge"`: the head begins with the closed-form `finetuning.ridge_head` of the data.
        rate_factor: what a rate that is derived from full tuning's is multiplied by, above 0.

    Raises:
        ValueError: for a number out of range, a broken regex or an unknown mode.

    Example:

    >>> from tftransfer.policies import Stage, full
    >>> biases = Stage("biases", {r"/bias$": 1.0, r"^head/": 1.0, r".*": 0.0}, epochs=3, learning_rate=1e-3)
    >>> biases + full(epochs=2)
    biases(epochs=3, learning_rate=0.001) + full(epochs=2)
    """

    name: str
    multipliers: Mapping[str, float] | Callable
    epochs: int
    learning_rate: float | None = None
    schedule: str | OneCycle = "cosine"
    batch_norm: str = "auto"
    prepare: Callable | None = None
    init: str | None = None
    rate_factor: float = 1.0

    def __post_init__(self):
        if not isinstance(self.epochs, int) or isinstance(self.epochs, bool) or self.epochs < 1:
            raise ValueError(
                f"{self.name}: epochs must be an integer of at least 1; received {self.epochs!r}."
            )
        rate = self.learning_rate
        if rate is not None and not (isinstance(rate, (int, float)) and math.isfinite(rate) and rate > 0):
            raise ValueError(
                f"{self.name}: learning_rate must be a number above 0, or None to derive it; received "
                f"{rate!r}."
            )
        for value, known, what in (
            (self.schedule, _SCHEDULES, "schedule"),
            (self.batch_norm, _BATCH_NORM, "batch_norm"),
            (self.init, _INIT, "init"),
        ):
            if value not in known and not (what == "schedule" and isinstance(value, OneCycle)):
                raise ValueError(f"{self.name}: {what} must be one of {known}; received {value!r}.")
        if not callable(self.multipliers):
            check_multipliers(self.name, self.multipliers)

    def resolve(self, context):
        """The multiplier of each variable that may be trained.

        Args:
            context: the `Context`, handed to `multipliers` where that is a function.

        Returns:
            `{path: multiplier}` in the order of the paths.

        Raises:
            ValueError: for a pattern found in no path, a path without a pattern, or when every multiplier is
                0.
        """
        rules = self.multipliers(context) if callable(self.multipliers) else self.multipliers
        resolved = resolve(self.name, rules, context.paths)
        if not any(resolved.values()):
            raise ValueError(
                f"Stage {self.name!r} would train nothing: every multiplier is 0. Received {dict(rules)}; "
                f"give at least one pattern a multiplier above 0."
            )
        return resolved

    def __add__(self, other):
        return Policy([self]) + other

    def __repr__(self):
        rate = "" if self.learning_rate is None else f", learning_rate={self.learning_rate:g}"
        call = f"{self.name[:-1]}, " if self.name.endswith(")") else f"{self.name}("
        init = "" if self.init is None else f", init={self.init!r}"
        return f"{call}epochs={self.epochs}{rate}{init})"


class Policy:
    """A list of stages, run one after another by `tftransfer.finetune`; `+` chains policies.

    Args:
        stages: `Stage`s.
        text: the Python expression that `repr` shows; by default made of the stages' own.

    Raises:
        ValueError: when there are none, or something is not a `Stage`.

    Example:

    >>> from tftransfer.policies import full, linear_probe
    >>> policy = linear_probe(epochs=5) + full(epochs=20, learning_rate=1e-4)
    >>> [stage.name for stage in policy]
    ['linear_probe', 'full']
    """

    def __init__(self, stages, *, text=None):
        self.stages = tuple(stages)
        if not self.stages:
            raise ValueError("A policy needs at least one Stage; received none.")
        for stage in self.stages:
            if not isinstance(stage, Stage):
                raise ValueError(
                    f"A policy is made of Stage objects; received {stage!r}. Chain policies with +."
                )
        self.text = text or " + ".join(repr(stage) for stage in self.stages)

    @property
    def epochs(self):
        """Epochs of all stages together."""
        return sum(stage.epochs for stage in self.stages)

    def __add__(self, other):
        if isinstance(other, Stage):
            other = Policy([other])
        if not isinstance(other, Policy):
            return NotImplemented
        return Policy(self.stages + other.stages, text=f"{self.text} + {other.text}")

    def __iter__(self):
        return iter(self.stages)

    def __len__(self):
        return len(self.stages)

    def __eq__(self, other):
        return isinstance(other, Policy) and self.stages == other.stages

    __hash__ = None

    def __repr__(self):
        return self.text


def resolve(name, multipliers, paths):
    """The multiplier of each path: that of the first pattern found in it.

    Args:
        name: what messages call the owner of the patterns.
        multipliers: `{regex: multiplier}`.
        paths: variable paths.

    Returns:
        `{path: multiplier}` in the order of `paths`.

    Raises:
        ValueError: for unsound multipliers, a pattern found in no path, or a path that no pattern covers.
    """
    check_multipliers(name, multipliers)
    paths = list(paths)
    shown = ", ".join(paths[:6]) + (f", ... ({len(paths)} in all)" if len(paths) > 6 else "")
    rules = [(re.compile(pattern), value) for pattern, value in multipliers.items()]
    for pattern, _ in rules:
        if not any(pattern.search(path) for path in paths):
            raise ValueError(
                f"{name}: the pattern {pattern.pattern!r} is found in no variable path. Correct it; the "
                f"paths are {shown}."
            )
    resolved = {}
    for path in paths:
        value = next((value for pattern, value in rules if pattern.search(path)), None)
        if value is None:
            raise ValueError(
                f"{name}: no pattern covers the variable {path!r}; the patterns are {list(multipliers)}. Say "
                f"what shall happen to it, or end with a catch-all: {{..., '.*': 0.0}}."
            )
        resolved[path] = float(value)
    return resolved


def check_multipliers(name, multipliers):
    """Raises a `ValueError` unless `multipliers` maps sound regexes to finite numbers of at least 0."""
    if not isinstance(multipliers, Mapping) or not multipliers:
        raise ValueError(
            f"{name}: multipliers must be a dict {{regex: multiplier}} with at least one entry; "
            f"received {multipliers!r}."
        )
    for pattern, value in multipliers.items():
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise ValueError(f"{name}: {pattern!r} is not a regular expression ({error}).") from error
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or value < 0:
            raise ValueError(
                f"{name}: a learning-rate multiplier must be a finite number of at least 0 (0 freezes); "
                f"received {value!r} for {pattern!r}."
            )
