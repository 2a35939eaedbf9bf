"""Learning-rate multipliers per variable, for any Keras optimizer: one rate or schedule × a factor each."""

import keras
from keras import ops

from tftransfer.policies.policy import resolve
from tftransfer.weights.paths import variable_paths

__all__ = ["with_multipliers"]

_CLASSES = {}  # Keras optimizer class -> the same with multipliers


def with_multipliers(optimizer, multipliers, model, *, paths=None):
    """A copy of an optimizer that moves each variable with its own multiple of the learning rate.

    A variable v with multiplier m is updated exactly as the optimizer would with `learning_rate × m`;
    decoupled weight decay (AdamW, Lion, Muon, ...) is scaled alike. There is still one learning rate, a
    number or a schedule, so that `LearningRateScheduler`, `ReduceLROnPlateau` and warm-up work as ever.
    (Scaling gradients instead does nothing under Adam; `keras.optimizers.MultiOptimizer` has one rate per
    group, which a `LearningRateScheduler` flattens, and clips by the norm of each group.)

    The factors are stored resolved, one per trainable variable in the model's order, so that a saved model
    restores them even where Keras has renamed its variables. Make the optimizer in the scope of the strategy,
    as any other, and compile with it while the same variables are trainable.

    Args:
        optimizer: a `keras.optimizers.Optimizer`; its configuration is copied, its state is not.
        multipliers: `{regex: multiplier}`; the first pattern found in a variable's path decides.
        model: a built `keras.Model`.
        paths: `{path: variable}`; by default `weights.variable_paths(model)`.

    Returns:
        An optimizer of a subclass of the optimizer's class.

    Raises:
        ValueError: when a pattern is found in no path, a trainable variable is not covered, or the optimizer
            wraps others.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="body"),
    ...                           keras.layers.Dense(2, name="head")])
    >>> optimizer = with_multipliers(keras.optimizers.AdamW(1e-3), {"^head": 1.0, ".*": 0.1}, model)
    >>> model.compile(optimizer, "mse")
    >>> optimizer.multipliers
    (0.1, 0.1, 1.0, 1.0)
    """
    path_of = {id(variable): path for path, variable in (paths or variable_paths(model)).items()}
    variables = list(model.trainable_variables)
    resolved = resolve("with_multipliers", multipliers, [path_of[id(variable)] for variable in variables])
    return with_resolved(optimizer, list(resolved.values()), variables)


def with_resolved(optimizer, multipliers, variables):
    """`with_multipliers` where the factors are known: one for each of the variables to be trained, in order."""
    _check(optimizer)
    kind = _multiplied(type(optimizer))
    multiplied = copy_optimizer(optimizer, kind=kind, multipliers=list(multipliers))
    object.__setattr__(multiplied, "_resolved_for", [id(variable) for variable in variables])
    return multiplied


def copy_optimizer(optimizer, *, kind=None, **changes):
    """A fresh, unbuilt optimizer with the configuration of another one.

    Args:
        optimizer: a Keras optimizer.
        kind: the class of the copy; by default the optimizer's own.
        changes: entries of the configuration that shall differ.
    """
    copied = (kind or type(optimizer)).from_config({**optimizer.get_config(), **changes})
    for name, value in vars(optimizer).items():
        if name.startswith("_exclude_from_weight_decay"):  # set by a method, so not in the configuration
            setattr(copied, name, value)
    return copied


def _check(optimizer):
    wraps = (keras.optimizers.LossScaleOptimizer, getattr(keras.optimizers, "MultiOptimizer", ()))
    if not isinstance(optimizer, keras.optimizers.Optimizer) or isinstance(optimizer, wraps):
        raise ValueError(
            f"Learning-rate multipliers need a plain keras.optimizers.Optimizer; received "
            f"{type(optimizer).__name__}. Give the optimizer inside it (compile wraps it in a "
            "LossScaleOptimizer by itself under mixed_float16)."
        )
    if isinstance(optimizer, _Multiplied):
        raise ValueError("The optimizer has learning-rate multipliers already. Give the plain one.")


class _Multiplied:
    """Mixin before a Keras optimizer class; see `with_multipliers`."""

    multipliers = ()

    def __init__(self, *args, multipliers, **kwargs):
        super().__init__(*args, **kwargs)
        self.multipliers = tuple(float(value) for value in multipliers)

    def build(self, variables):
        if self.built:
            return
        variables = list(variables)
        resolved_for = getattr(self, "_resolved_for", None)
        if len(variables) != len(self.multipliers) or (
            resolved_for is not None and resolved_for != [id(variable) for variable in variables]
        ):
            raise ValueError(
                f"The optimizer has multipliers for {len(self.multipliers)} variables, and is built for "
                f"other ones ({len(variables)}). Call with_multipliers after setting what is trainable, and "
                "compile with its result."
            )
        super().build(variables)
        object.__setattr__(self, "_decays", tuple(self._decay_of(variable) for variable in variables))

    def _decay_of(self, variable):
        """The decoupled weight decay of a variable, or None."""
        decay = self.weight_decay
        if hasattr(self, "_should_use_adamw") and self._should_use_adamw(variable):  # Muon keeps two
            decay = self.adam_weight_decay
        return decay if decay is not None and self._use_weight_decay(variable) else None

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        learning_rate = ops.cast(learning_rate, "float32") * self.multipliers[index]
        # Decay belongs here, inside `strategy.extended.update`. To change an attribute around the stock method
        # would be wrong under replicas, whose threads interleave there.
        if self._decays[index] is not None:
            rate = ops.cast(learning_rate, variable.dtype)
            self.assign_sub(variable, variable * ops.cast(self._decays[index], variable.dtype) * rate)
        return super().update_step(gradient, variable, learning_rate)

    def _apply_weight_decay(self, variables):
        """Nothing: `update_step` does it."""

    def get_config(self):
        return {**super().get_config(), "multipliers": list(self.multipliers)}


def _multiplied(base):
    if base not in _CLASSES:
        _CLASSES[base] = keras.saving.register_keras_serializable("tftransfer")(
            type(f"Multiplied{base.__name__}", (_Multiplied, base), {"__module__": __name__})
        )
    return _CLASSES[base]


for _found in list(vars(keras.optimizers).values()):  # so that a saved model finds them again
    if isinstance(_found, type) and issubclass(_found, keras.optimizers.Optimizer):
        if _found.__name__ not in ("Optimizer", "LossScaleOptimizer", "MultiOptimizer"):
            _multiplied(_found)
