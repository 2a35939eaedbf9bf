"""Several elementwise operations as one kernel, where TensorFlow would go over the tensor once for each."""

import contextlib
import functools
import math
import threading

import keras

from tftransfer.placement.replicas import replicas

__all__ = ["in_a_training_step", "one_kernel", "pays"]

LEAST_VALUES = 2**18  # below, compiling (30 to 60 CPU milliseconds) costs more than it will save
OPEN_BATCH = 16  # what a batch of unknown size counts as
_training = threading.local()


def one_kernel(function):
    """The same function of tensors, compiled by XLA as one kernel where that pays: in training steps on a CPU.

    A CPU without XLA reads and writes a wide tensor once for each operation; XLA fuses them. GELU forth and back over
    4 million values: 6 CPU milliseconds in place of 18. Each shape is compiled for itself; so only the batch size
    may be open. Small tensors, other types than float32 and int32, replicas and accelerators get the function as it is,
    and so does all that is not a `PlacedModel`'s training step: prediction in batches of many sizes, and what is
    exported.

    Args:
        function: of tensors alone, to a tensor or a tuple of them, in `keras.ops`; nothing in it may be random.

    Returns:
        A function of the same tensors.

    Example:
        >>> import tftransfer as tt
        >>> square = tt.placement.one_kernel(lambda x: x * x + 1)
        >>> float(square(keras.ops.convert_to_tensor(2.0)))
        5.0
    """

    @functools.wraps(function)
    def call(*tensors):
        if not pays(*tensors):
            return function(*tensors)
        import tensorflow as tf

        return _compiled(function)(*map(tf.convert_to_tensor, tensors))  # variables too

    return call


@functools.cache
def _compiled(function):
    import tensorflow as tf

    return tf.function(function, jit_compile=True, autograph=False)


@contextlib.contextmanager
def in_a_training_step():
    """While this lasts, `one_kernel` compiles what pays: the tracing of a training step in this thread."""
    before, _training.now = getattr(_training, "now", False), True
    try:
        yield
    finally:
        _training.now = before


def pays(*tensors):
    """Whether `one_kernel` would compile a function of these tensors."""
    if keras.backend.backend() != "tensorflow" or not getattr(_training, "now", False):
        return False
    import tensorflow as tf

    return (
        not tf.executing_eagerly()
        and all(tf.is_tensor(x) and x.dtype in (tf.float32, tf.int32) and _known(x.shape) for x in tensors)
        and max(math.prod((size or OPEN_BATCH) for size in x.shape) for x in tensors) >= LEAST_VALUES
        and replicas() == 1
        and not tf.config.list_logical_devices("GPU")
        and not tf.config.list_logical_devices("TPU")
    )


def _known(shape):
    return shape.rank is not None and None not in shape.as_list()[1:]
