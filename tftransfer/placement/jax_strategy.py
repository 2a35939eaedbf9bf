"""The strategy object on JAX: what `tf.distribute` users expect of one, over `keras.distribution`."""

import contextlib

import keras

__all__ = ["JaxStrategy"]


class JaxStrategy:
    """Places models on JAX devices: one device plainly, several by `keras.distribution.DataParallel`.

    Args:
        devices: names as `keras.distribution.list_devices()` gives them (`["cpu:0", "cpu:1"]`).
        distribution: a `keras.distribution.DataParallel` over them, made here if not given.

    Attributes:
        distribution: the `keras.distribution.DataParallel`, or None with one device.
        num_replicas_in_sync: how many devices share a global batch.
    """

    def __init__(self, devices, *, distribution=None):
        self.devices = tuple(devices)
        self.num_replicas_in_sync = len(self.devices)
        if distribution is None and len(self.devices) > 1:
            distribution = keras.distribution.DataParallel(devices=list(self.devices))
        self.distribution = distribution

    def scope(self):
        """Context in which variables are laid out over the devices."""
        if self.distribution is not None:
            return self.distribution.scope()
        if self.devices[0] == keras.distribution.list_devices()[0]:
            return contextlib.nullcontext()
        return keras.device(self.devices[0])
