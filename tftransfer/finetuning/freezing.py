"""Which variables of a task move in a stage: `trainable` flags, and the mode of BatchNormalization."""

import dataclasses

import keras
import numpy as np

from tftransfer.finetuning.depth import depth_groups
from tftransfer.policies import Context
from tftransfer.weights.paths import variable_paths as paths_of

__all__ = ["Applied", "Flags", "apply_stage", "context_of", "trainable_state", "variable_paths"]


def variable_paths(task):
    """The task's variables by the paths that policies speak of: `backbone/...`, `pool/...`, `head/...`.

    Each path is the part of the task, then the chain of layer names inside it, then the variable's name. What
    lies in none of the three parts has the path that `weights.variable_paths` gives it.

    Args:
        task: a built task (or any `keras.Model` with `.backbone` and `.head`).

    Returns:
        An ordered dict, path → `keras.Variable`.

    Example:

    >>> import tftransfer as tt
    >>> task = tt.tasks.Classifier(tt.backbones.mlp((8,), units=(4,)), num_classes=3)
    >>> list(variable_paths(task))[-2:]
    ['head/kernel', 'head/bias']
    """
    paths = {}
    for part in ("backbone", "pool", "head"):
        layer = getattr(task, part, None)
        if isinstance(layer, keras.layers.Layer) and layer.built:
            paths.update({f"{part}/{path}": variable for path, variable in paths_of(layer).items()})
    known = {id(variable) for variable in paths.values()}
    rest = paths_of(task).items()
    return paths | {path: variable for path, variable in rest if id(variable) not in known}


def trainable_paths(task):
    """`variable_paths` without the variables that were made untrainable (moving statistics, fixed tables)."""
    made_trainable = {id(v) for layer in task._flatten_layers() for v in layer._trainable_variables}
    return {path: v for path, v in variable_paths(task).items() if id(v) in made_trainable}


def context_of(task, gradient_norms=None):
    """The `policies.Context` of a task as it now is."""
    paths = trainable_paths(task)
    return Context(task, paths, *depth_groups(task, paths), gradient_norms)


@dataclasses.dataclass(frozen=True)
class Applied:
    """What a stage does to a task: which variables move, how many parameters, BatchNormalization."""

    multipliers: dict  # path -> multiplier, of the variables that move
    trained: int  # parameters
    frozen: int
    batch_norm_live: int  # layers
    batch_norm_frozen: int

    @property
    def spread(self):
        """The range of the multipliers in words; empty where every one is 1."""
        low, high = min(self.multipliers.values()), max(self.multipliers.values())
        return "" if low == high == 1 else f" × {low:.3g}" + (f" to {high:.3g}" if high > low else "")

    def __str__(self):
        total = self.trained + self.frozen
        text = f"trains {self.trained:,} of {total:,} parameters ({100 * self.trained / total:.3g}%)"
        count = self.batch_norm_live + self.batch_norm_frozen
        if not count:
            return text
        if not self.batch_norm_live:
            return f"{text}, BatchNorm in inference mode (all {count})"
        if not self.batch_norm_frozen:
            return f"{text}, BatchNorm live (all {count})"
        modes = f"live ({self.batch_norm_live}) and in inference mode ({self.batch_norm_frozen})"
        return f"{text}, BatchNorm {modes}"


def apply_stage(stage, task, gradient_norms=None):
    """Sets every `trainable` flag of a task as a stage says; the task must be compiled afterwards.

    The policy alone decides: flags set by hand before are overridden. Variables that were made untrainable
    (moving statistics, fixed position tables) are never touched.

    Args:
        stage: a `policies.Stage`.
        task: a built task.
        gradient_norms: see `policies.Context`.

    Returns:
        An `Applied`.

    Raises:
        ValueError: when a pattern is found in no path, a variable is not covered, or nothing would be
            trained.
    """
    context = context_of(task, gradient_norms)
    paths = context.paths
    multipliers = stage.resolve(context)
    moves = {id(paths[path]): value > 0 for path, value in multipliers.items()}

    task.trainable = False  # else Keras on TensorFlow takes the next line for no change, and inner flags stay
    task.trainable = True  # also what was frozen by hand; what was made untrainable stays so
    _flag(task, moves)
    live, still = _set_batch_norm(stage.batch_norm, task, moves)
    for variable in paths.values():
        variable.trainable = moves[id(variable)]
    trained = sum(int(np.prod(v.shape)) for v in paths.values() if moves[id(v)])
    total = sum(int(np.prod(v.shape)) for v in task.weights)
    moving = {path: value for path, value in multipliers.items() if value > 0}
    return Applied(moving, trained, total - trained, live, still)


def _flag(layer, moves):
    """Sets `layer.trainable` to whether anything in it moves; layers without variables keep their flag."""
    own = [moves[id(variable)] for variable in layer.weights if id(variable) in moves]
    if own and not any(own):
        layer.trainable = False
    elif own:
        for child in layer._flatten_layers(include_self=False, recursive=False):
            _flag(child, moves)


def trainable_state(task):
    """What Keras fixes when it traces: the trainable variables, and the layers' flags."""
    flags = tuple(layer.trainable for layer in task._flatten_layers())
    return flags, tuple(id(variable) for variable in task.trainable_variables)


class Flags:
    """The `trainable` flags of a task, to be put back."""

    def __init__(self, task):
        self.task = task
        self.layers = {id(layer): (layer, layer.trainable) for layer in [task, *_in_order(task)]}
        self.variables = {id(v): (v, v.trainable) for v in trainable_paths(task).values()}

    def restore(self):
        """Puts them back; what was added since is trainable, but no kernel that LoRA stands beside."""
        for layer in [self.task, *_in_order(self.task)]:
            layer.trainable = self.layers.get(id(layer), (layer, True))[1]
        for variable in trainable_paths(self.task).values():
            variable.trainable = self.variables.get(id(variable), (variable, variable.trainable))[1]
        for layer in _in_order(self.task):
            if getattr(layer, "lora_enabled", False):
                for variable in layer._trainable_variables:
                    variable.trainable &= variable.name not in ("kernel", "embeddings")


def _in_order(layer):
    """All layers inside a layer, the outer before the inner; Keras's own recursion turns each level round."""
    for child in layer._flatten_layers(include_self=False, recursive=False):
        yield child
        yield from _in_order(child)


def _set_batch_norm(mode, task, moves):
    """Puts each BatchNormalization into training or inference mode; returns how many are in each."""
    in_backbone = {id(layer) for layer in task.backbone._flatten_layers()}
    live = still = 0
    before = True  # whether the last layer with variables before this one moves
    for layer in {id(x): x for x in [*_in_order(task.backbone), *_in_order(task)]}.values():
        own = [*layer._trainable_variables]
        if own and not isinstance(layer, keras.layers.BatchNormalization):
            before = any(moves.get(id(variable), False) for variable in own)
        if not isinstance(layer, keras.layers.BatchNormalization):
            continue
        trained = any(moves[id(variable)] for variable in own if id(variable) in moves) if own else before
        layer.trainable = mode == "live" or (trained and not (mode == "frozen" and id(layer) in in_backbone))
        live += layer.trainable
        still += not layer.trainable
    return live, still
