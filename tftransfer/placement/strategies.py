"""Which devices to use: one line that reads the machine."""

import keras

__all__ = ["strategy"]


def strategy(name="auto"):
    """The strategy to build models under. (Choice by name follows.)"""
    if not isinstance(name, str):
        return name
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.distribute.get_strategy()
    from tftransfer.placement.jax_strategy import JaxStrategy

    return JaxStrategy(keras.distribution.list_devices())
