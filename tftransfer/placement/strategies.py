"""Which devices to use: one line that reads the machine."""

import keras

__all__ = ["strategy"]

_made = {}  # devices -> strategy: two MirroredStrategy objects over the same devices crash TensorFlow


def strategy(name="auto", *, verbose=True, timeout_s=300.0):
    """The strategy to build models under, the same line on a laptop, several GPUs, many machines and a TPU.

    `with strategy.scope():` around whatever makes layers, models and optimizers; `fit` and the rest need no scope.
    One strategy per set of devices and process is made and given again.

    ==================  =================================================================================
    `"auto"`            `TF_CONFIG` with several workers: all of them; a TPU; several GPUs; else one device
    `"cpu"`, `"cpu:1"`  one processor device
    `"gpu"`, `"gpu:0"`  one GPU
    `"mirrored"`        all GPUs of this machine, or all logical CPU devices where it has no GPU
    `"multi_worker"`    the workers of `TF_CONFIG`; call it before anything else touches TensorFlow
    `"tpu"`             all TPU cores (untested: no TPU was available to the authors)
    ==================  =================================================================================

    One device on TensorFlow is its default strategy, which costs nothing. On JAX several devices are
    `keras.distribution.DataParallel`, whatever kind they are.

    Args:
        name: one of the names above, or a strategy object (`tf.distribute.Strategy`; on JAX also
            `keras.distribution.DataParallel`), which is checked and given back.
        verbose: whether to print in one line what was chosen and why.
        timeout_s: seconds that the workers of `TF_CONFIG` wait for the last of them to come up.

    Returns:
        An object with `.scope()` and `.num_replicas_in_sync`.

    Raises:
        ValueError: if the name is not one of these, or this machine or TensorFlow cannot give what it asks for; of
            several workers, on each, if one does not come up, cannot listen at its port, or has other versions.

    Example:
        >>> import tftransfer as tt
        >>> strategy = tt.placement.strategy("cpu")
        placement: 1 replica on CPU:0 (asked for 'cpu')
        >>> strategy.num_replicas_in_sync
        1
    """
    if keras.backend.backend() == "tensorflow":
        from tftransfer.placement import tensorflow_devices as devices
    elif keras.backend.backend() == "jax":
        from tftransfer.placement import jax_devices as devices
    else:
        raise ValueError(
            f"placement knows the Keras backends 'tensorflow' and 'jax'. Received: {keras.backend.backend()!r}. "
            "Set the environment variable KERAS_BACKEND to one of them before Python starts."
        )
    chosen, why = devices.choose(name, _made, timeout_s)
    if verbose:
        count = chosen.num_replicas_in_sync
        print(f"placement: {count} replica{'s' * (count > 1)} on {devices.describe(chosen)} ({why})")
    return chosen
