"""Computing again on the way back, at the time when it is due."""

import keras

from tftransfer.placement.replicas import replicas

__all__ = ["remat"]

_NOT_INLINED = {"experimental_attributes": {"_noinline": True}}


def remat(function):
    """`keras.remat` that computes again no sooner than the gradient asks for it.

    On TensorFlow 2.21 `tf.recompute_grad`, which is Keras's, makes that order by control inputs and by adding a zero
    that stems from the upstream gradient; the graph optimizer folds the one and drops the other, and what was to save
    memory runs early and is kept (a residual block of 64 filters kept 2.2 maps instead of 1). Here it is a function of
    its own, which is called when the upstream gradient is there.

    Args:
        function: of float tensors to a tensor, or to a tuple whose first is the result; the others (new statistics)
            have no gradient. It reads no variables: give their values as arguments.

    Returns:
        A function of the same tensors.

    Example:

    >>> cube = remat(lambda x: x * x * x)
    >>> float(cube(keras.ops.convert_to_tensor(2.0)))
    8.0
    """
    if keras.backend.backend() != "tensorflow":
        return keras.remat(function)
    import tensorflow as tf

    def again(inputs, upstream):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            result = function(*inputs)
        result = result[0] if isinstance(result, tuple) else result
        zeros = tf.UnconnectedGradients.ZERO
        return tape.gradient(result, inputs, upstream, unconnected_gradients=zeros)

    @tf.custom_gradient
    def forth(*inputs):
        def back(upstream, *of_others):
            call = again if replicas() > 1 else tf.function(again, autograph=False, **_NOT_INLINED)
            return call(inputs, upstream)

        return function(*inputs), back

    return forth
