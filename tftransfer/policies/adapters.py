"""Adapters: small bottlenecks between the blocks of a frozen backbone learn the new task."""

import dataclasses

import keras

from tftransfer.policies.policy import Policy, Stage

__all__ = ["adapters"]


def adapters(width=16, *, epochs=10, learning_rate=None):
    """Trains the head and a bottleneck behind each block: `x + up(gelu(down(norm(x))))`, `up` beginning at 0.

    The backbone does not change by a bit, and at the beginning the model computes what it did before. Works
    on vectors, tokens and maps (where it is a pair of 1×1 convolutions) of any functional or Sequential
    backbone; the task's backbone is replaced by one that shares its layers and has the bottlenecks in
    between.

    Reference: Houlsby et al., "Parameter-Efficient Transfer Learning for NLP", 2019,
    https://arxiv.org/abs/1902.00751
    Differs from it in: one bottleneck per block, behind it, as in Pfeiffer et al., 2020,
    https://arxiv.org/abs/2005.00247

    Args:
        width: inner size of a bottleneck.
        epochs: passes over the labelled data.
        learning_rate: peak learning rate; None derives it, ten times that of `full`: new parameters move
            alone.

    Returns:
        A `Policy` of one stage.

    Raises:
        ValueError: for a number out of range, and, from `finetune`, for a subclassed backbone.

    Example:

    >>> from tftransfer.policies import adapters
    >>> adapters(8, epochs=5)
    adapters(8, epochs=5)
    """
    if not isinstance(width, int) or isinstance(width, bool) or width < 1:
        raise ValueError(f"adapters: width must be an integer of at least 1; received {width!r}.")
    rules = {r"(^|/)adapter_\d+/": 1.0, r"^head/": 1.0, r".*": 0.0}
    return Policy(
        [Stage(f"adapters({width})", rules, epochs, learning_rate, prepare=Insert(width), rate_factor=10)]
    )


@keras.saving.register_keras_serializable(package="tftransfer")
class Adapter(keras.layers.Layer):
    """A residual bottleneck on the last axis: `x + up(gelu(down(norm(x))))`.

    Args:
        width: inner size.

    Input and output shape: `(batch, ..., channels)`.
    """

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6, name="norm")
        self.down = keras.layers.Dense(width, activation="gelu", name="down")
        self.up = None

    def build(self, input_shape):
        self.up = keras.layers.Dense(input_shape[-1], kernel_initializer="zeros", name="up")
        self.norm.build(input_shape)
        self.down.build(input_shape)
        self.up.build((*input_shape[:-1], self.width))

    def call(self, x):
        return x + self.up(self.down(self.norm(x)))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "width": self.width}


@dataclasses.dataclass(frozen=True)
class Insert:
    """Puts bottlenecks between the blocks of a task's backbone."""

    width: int

    def __call__(self, context):
        task = context.task
        if any(isinstance(layer, Adapter) for layer in task.backbone._flatten_layers()):
            return  # they go on learning
        if not hasattr(task.backbone, "_nodes_by_depth") and not isinstance(task.backbone, keras.Sequential):
            raise ValueError(
                f"adapters: the backbone {task.backbone.name!r} is a subclassed model, whose blocks nothing "
                "can be put between. Use a functional or Sequential backbone, or policies.lora or "
                "policies.bitfit."
            )
        ends = {id(layer) for layer in context.ends if layer is not None}
        count = iter(range(len(ends)))

        def call(layer, *args, **kwargs):
            outputs = layer(*args, **kwargs)
            if id(layer) not in ends:
                return outputs
            ends.discard(id(layer))  # a layer that is used twice gets one
            return Adapter(self.width, name=f"adapter_{next(count):02d}")(outputs)

        inputs = task.backbone.inputs
        flat = keras.Model(
            inputs[0] if len(inputs) == 1 else inputs, task.backbone.outputs[0], name=task.backbone.name
        )
        grown = keras.models.clone_model(
            flat, clone_function=lambda layer: layer, call_function=call, recursive=True
        )
        _replace_backbone(task, grown)


def _replace_backbone(task, backbone):
    """Sets `task.backbone` at the same place among the task's layers, so that the order of its weights stays."""
    place = [layer is task.backbone for layer in task._layers].index(True)
    task._tracker.unlock()
    task._tracker.untrack(task.backbone)  # Keras goes on tracking what an attribute held before
    task.backbone = backbone
    task._layers.insert(place, task._layers.pop())
