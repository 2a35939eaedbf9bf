"""Configuration by introspection: each `__init__` argument is stored under its own name."""

import inspect

import keras

register = keras.saving.register_keras_serializable(package="tftransfer")


def _argument_names(cls):
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    parameters = inspect.signature(cls.__init__).parameters.items()
    return [name for name, p in parameters if name != "self" and p.kind not in kinds]


class Configured:
    """Mixin that derives `get_config` and `from_config` from the signature of `__init__`.

    A class that keeps every `__init__` argument in an attribute of the same name needs no hand-written
    config: nested Keras objects (a backbone, an augmentation layer) are serialised by Keras itself.

    Example:

    >>> from tftransfer.layers import RandomView
    >>> layer = RandomView(crop_scale=(0.5, 1.0), flip=False)
    >>> RandomView.from_config(layer.get_config()).crop_scale
    (0.5, 1.0)
    """

    def get_config(self):
        own = {n: keras.saving.serialize_keras_object(getattr(self, n)) for n in _argument_names(type(self))}
        dtype = keras.saving.serialize_keras_object(self.dtype_policy)
        return {"name": self.name, "trainable": self.trainable, "dtype": dtype, **own}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        def revive(value):
            return keras.saving.deserialize_keras_object(value, custom_objects=custom_objects)

        return cls(**{name: revive(value) for name, value in config.items()})
