"""From a model to a config and back, without ever running code that a file brings."""

import math
import sys

import keras
from keras.src.backend.common import global_state

from tftransfer import placement

_CARRY_CODE = {"__lambda__", "Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
_VALUES = {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__"}
_FUNCTION_MODULES = (
    "builtins", "keras.activations", "keras.constraints", "keras.initializers", "keras.losses", "keras.ops",
    "keras.regularizers",
)  # fmt: skip
_VOCABULARIES = ("vocabulary", "idf_weights")


def config_of(backbone):
    """The backbone's config, as JSON has it.

    Raises:
        ValueError: the model has no config, or one that could not be rebuilt safely; says what to do.
    """
    try:
        config = keras.saving.serialize_keras_object(backbone)
    except (NotImplementedError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"The model {backbone.name!r} has no config to rebuild it from: {error}. Build it with "
            "`keras.Sequential` or `keras.Model(inputs, outputs)`, or give its classes `get_config`."
        ) from error
    config = _without_compilation(config)
    check_config(config, f"The model {backbone.name!r}")
    return config


def check_config(config, where, custom_objects=None):
    """ValueError unless the config names only Keras's own classes and ones registered in this process."""
    todo = [(config, 0)]
    while todo:
        value, depth = todo.pop()
        if depth > 200:
            raise ValueError(f"{where} has a config that is nested too deep.")
        if isinstance(value, dict):
            if "class_name" in value and "config" in value:
                _check_object(value, where, custom_objects or {})
            todo += [(part, depth + 1) for part in value.values()]
        elif isinstance(value, (list, tuple)):
            todo += [(part, depth + 1) for part in value]


def rebuild(config, where, *, parameters, custom_objects=None):
    """Builds the model of a config that came from a file, in Keras's safe mode.

    Args:
        config: what `config_of` gave.
        where: how messages name the file.
        parameters: how many values the file holds; a model that wants far more is refused before memory is
        taken. custom_objects: classes by name, as in `keras.models.load_model`.

    Returns:
        The `keras.Model`, its variables not loaded yet.

    Raises:
        ValueError: the config is not safe, or does not build.
    """
    check_config(config, where, custom_objects)
    config = placement.adapt_batch_normalization(_without_compilation(config))
    try:
        model = _build(config, custom_objects, 2 * parameters + 1_000_000)
    except Exception as error:  # a config from outside may fail in any way
        raise ValueError(f"{where} holds a model that cannot be rebuilt: {str(error)[:1000]}") from error
    if not isinstance(model, keras.Model):
        raise ValueError(f"{where} describes a {type(model).__name__}, not a keras.Model.")
    return model


def _build(config, custom_objects, limit):
    """In a stateless scope Keras makes variables without values: their sizes can be looked at first."""
    try:
        with keras.StatelessScope(initialize_variables=False):
            model = keras.saving.deserialize_keras_object(
                config, custom_objects=custom_objects, safe_mode=True
            )
        wanted = sum(math.prod(v.shape) for v in getattr(model, "weights", ()))
        if wanted > limit:
            raise ValueError(f"its config asks for {wanted} parameters, far more than the file holds")
    except Exception as error:
        global_state.set_global_attribute("uninitialized_variables", [])
        if "stateless scope" not in str(error):
            raise
        # A custom layer that needs the values of variables while it is built.
        return keras.saving.deserialize_keras_object(config, custom_objects=custom_objects, safe_mode=True)
    with keras.StatelessScope():
        pass  # leaving it gives the variables their first values
    return model


def _check_object(value, where, custom_objects):
    name, module, registered = value["class_name"], value.get("module"), value.get("registered_name")
    if not all(isinstance(x, (str, type(None))) for x in (name, module, registered)):
        raise ValueError(
            f"{where} has a config with a class that is not named by a text: {str(value)[:200]}."
        )
    if name in _VALUES:
        return
    known = keras.saving.get_custom_objects() | custom_objects
    inner = value["config"]
    if name == "function":
        is_keras = module in _FUNCTION_MODULES
        if not (is_keras or inner in known or registered in known):
            _unknown("function", inner, module, where)
        return
    if registered in known or name in known:
        return
    if name in _CARRY_CODE:
        raise ValueError(
            f"{where} holds a {name.strip('_')}, which carries code, and code from a file is never run. "
            "Write a layer class registered by `keras.saving.register_keras_serializable` instead."
        )
    is_keras = module in ("keras", *sys.modules) and str(module).split(".")[0] == "keras"
    if not is_keras:
        _unknown("class", registered or name, module, where)
    for key in _VOCABULARIES:
        if isinstance(inner, dict) and isinstance(inner.get(key), str):
            raise ValueError(f"{where} holds a {name} that reads another file: {key}={inner[key]!r}.")


def _unknown(kind, name, module, where):
    raise ValueError(
        f"{where} needs the {kind} {name!r} of the module {module!r}, which is not registered here; nothing "
        "is imported at a file's word. Import the module that defines it (under "
        f"`keras.saving.register_keras_serializable`), or pass custom_objects={{{name!r}: ...}}."
    )


def _without_compilation(value):
    if isinstance(value, dict):
        return {key: _without_compilation(part) for key, part in value.items() if key != "compile_config"}
    return [_without_compilation(part) for part in value] if isinstance(value, (list, tuple)) else value
