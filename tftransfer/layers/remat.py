"""Inner values of a model computed again on the way back instead of kept: memory for time."""

import weakref

import keras
from keras import ops
from keras.src.backend import AutocastScope

from tftransfer import placement
from tftransfer.layers.cuts import cut_tensors, functional

__all__ = ["rematerialize"]


def rematerialize(model):
    """Lets training keep of a functional model only what goes from one part to the next: less memory, more time.

    A part goes from one layer with a matrix or kernel to before the next, where one tensor carries everything on: a
    convolution with its normalization, a residual block, a block of a transformer. What lies inside is computed again
    on the way back. SimCLR on `resnet18`, pictures of 32 pixels in batches of 1,024, on a CPU: 6.2 GiB at most, the
    whole process, where it takes 12.6 otherwise. The numbers stay the same, and so do predictions and files;
    BatchNormalization counts its statistics once.

    Reference: Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016, https://arxiv.org/abs/1604.06174

    Args:
        model: a functional or Sequential `keras.Model` of one input and one output, such as a backbone; changed in
            place, and so are models inside, such as the trunk of a ViT. Text backbones have `rematerialize=` for
            their blocks. The discriminators of `GAN` and `BiGAN` are models of their own and stay as they are.

    Returns:
        The model.

    Raises:
        ValueError: for a model that is not functional, or has several inputs or outputs.

    Example:

    >>> from tftransfer import backbones
    >>> backbone = rematerialize(backbones.cnn((8, 8, 1), filters=(4, 8)))
    >>> tuple(backbone(ops.ones((2, 8, 8, 1)), training=True).shape)
    (2, 2, 2, 8)
    """
    if functional(model) is None:
        raise ValueError(
            f"rematerialize takes a functional or Sequential keras.Model of one input and one output; received "
            f"{model!r}. Build it by keras.Model(inputs, outputs), or rematerialize the models inside."
        )
    for inner in model._flatten_layers():
        if functional(inner) is not None:
            placement.replace_method(inner, "call", _by_parts)
    return model


_parts_of = weakref.WeakKeyDictionary()


def _by_parts(stock):
    def call(self, inputs, training=None, mask=None):
        if not training or mask is not None:
            return stock(self, inputs, training=training, mask=mask)
        if self not in _parts_of:
            _parts_of[self] = _parts(self)
        x = inputs
        for part in _parts_of[self]:
            x = part(x)
        return x

    return call


def _parts(model):
    """Functions one after the other, each with one matrix or one block; a model inside falls into its own."""
    model, ends = functional(model), []
    for layers, tensor in cut_tensors(model):
        learns = any(len(v.shape) > 1 for layer in layers for v in layer.weights)
        if ends and not (learns and ends[-1][1]):
            ends[-1] = tensor, ends[-1][1] or learns
        else:
            ends.append((tensor, learns))
    starts = [model.inputs[0], *(tensor for tensor, _ in ends)]
    return [_part(start, end) for start, (end, _) in zip(starts, ends, strict=False) if start is not end]


def _part(start, end):
    part = keras.Model(start, end)

    def run(x):
        return part(x, training=True)

    opens = any(functional(layer) is not None for layer in part.layers)
    return run if opens or "float" not in str(start.dtype) else rematerialized(run, [part])


def rematerialized(function, layers):
    """`function` of one tensor by `layers`, whose inner values are computed again for the gradient and not kept.

    The weights are read once, outside. `tf.recompute_grad` alone lets the way back read them anew, and TensorFlow's
    graph optimizer (2.21, its dependency optimization) loses the order of that read and of the optimizer's update: now
    and then a step's gradient was computed with weights of the next step, mostly where cores were busy. Random numbers
    are the same both times, and statistics count once.
    """
    variables = [variable for layer in layers for variable in layer.variables]
    floats = [v for v in variables if "float" in v.dtype]
    states = [v for v in variables if "float" not in v.dtype]  # of random numbers

    def call(x):
        with AutocastScope(None):  # as they are; each layer casts its own
            # Copied, for a variable handed over as it is would be read wherever it is used.
            values, drawn = ([ops.copy(v) for v in some] for some in (floats, states))
        moved = []

        def with_weights(x, *values):
            given = list(zip(floats + states, [*values, *drawn], strict=True))
            with keras.StatelessScope(given) as scope:
                y = function(x)
            ends = [(v, was, scope.get_current_value(v)) for v, was in given]
            changed = [(v, value) for v, was, value in ends if value is not was]
            moved[:] = [v for v, _ in changed]
            return y, *(ops.stop_gradient(value) for _, value in changed)

        y, *now = placement.remat(with_weights)(x, *values)
        for variable, value in zip(moved, now, strict=True):
            variable.assign(value)
        return y

    return call
