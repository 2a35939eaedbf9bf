"""Values computed again on the way back instead of kept."""

import keras
from keras import ops


def rematerialized(function, layers):
    """`function` of one tensor by `layers`, whose inner values are computed again for the gradient and not kept.

    The weights are read once, outside. `keras.remat` alone lets the way back read them anew, and TensorFlow's graph
    optimizer (2.21, its dependency optimization) loses the order of that read and of the optimizer's update: now and
    then a step's gradient was computed with weights of the next step, mostly where cores were busy.

    Reference: Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016, https://arxiv.org/abs/1604.06174
    """
    variables = [variable for layer in layers for variable in layer.variables]

    def with_weights(x, *values):
        with keras.StatelessScope(list(zip(variables, values, strict=True))):
            return function(x)

    kept = keras.remat(with_weights)
    return lambda x: kept(x, *(ops.convert_to_tensor(variable) for variable in variables))
