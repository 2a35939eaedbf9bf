"""L2-SP: full fine-tuning with a spring to where each weight started."""

import dataclasses

import keras
from keras import ops

from tftransfer.policies.policy import Policy, Stage

__all__ = ["l2_sp"]


def l2_sp(alpha=0.01, *, beta=0.01, epochs=10, learning_rate=None):
    """Trains everything, and adds to the loss `alpha/2 ‖w − w₀‖²` over the backbone and `beta/2 ‖w‖²` over the head.

    w₀ are the weights at the beginning of the stage. Weight decay pulls towards zero, where a pretrained
    network knows nothing; this pulls towards what was pretrained. The losses that are shown, also on
    validation data, contain the penalty.

    Reference: Li et al., "Explicit Inductive Bias for Transfer Learning with Convolutional Networks", 2018,
    https://arxiv.org/abs/1802.01483

    Args:
        alpha: strength of the pull on the backbone, at least 0.
        beta: strength of the pull on the head, at least 0.
        epochs: passes over the labelled data.
        learning_rate: peak learning rate; None derives it as in `full`.

    Returns:
        A `Policy` of one stage.

    Raises:
        ValueError: for a number out of range.

    Example:

    >>> from tftransfer.policies import l2_sp
    >>> l2_sp(0.1, epochs=5)
    l2_sp(0.1, beta=0.01, epochs=5)
    """
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
            raise ValueError(f"l2_sp: {name} must be a finite number of at least 0; received {value!r}.")
    return Policy(
        [
            Stage(
                f"l2_sp({alpha:g}, beta={beta:g})",
                {r".*": 1.0},
                epochs,
                learning_rate,
                prepare=_Springs(alpha, beta),
            )
        ]
    )


@dataclasses.dataclass(frozen=True)
class _Springs:
    """Hangs a regularizer on each trainable variable; what it returns takes them off again."""

    alpha: float
    beta: float

    def __call__(self, context):
        before = {path: variable.regularizer for path, variable in context.paths.items()}
        for path, variable in context.paths.items():
            if path.startswith("backbone/"):
                variable.regularizer = _Spring(self.alpha, ops.convert_to_numpy(variable))
            else:
                variable.regularizer = _Spring(self.beta, None)

        def take_off():
            for path, regularizer in before.items():
                context.paths[path].regularizer = regularizer

        return take_off


class _Spring(keras.regularizers.Regularizer):
    def __init__(self, strength, start):
        self.strength = strength
        # A variable, not a constant: the traced graph would hold a second copy of the model.
        self.start = None if start is None else keras.Variable(start, trainable=False, name="start")

    def __call__(self, x):
        x = ops.cast(x, "float32")
        return 0.5 * self.strength * ops.sum(ops.square(x if self.start is None else x - self.start))
