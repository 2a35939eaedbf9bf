"""save_backbone: a plain Keras weights file that says of itself what it holds."""

import io
import json
import math
import warnings

import h5py
import keras

from tftransfer.weights.config import config_of
from tftransfer.weights.files import check_name
from tftransfer.weights.hdf5 import read_array, stored_arrays
from tftransfer.weights.layout import TRAINING_STATE, is_weight, key_of, names_in_file
from tftransfer.weights.paths import slots
from tftransfer.weights.receipt import as_numpy, listed
from tftransfer.weights.record import Record, Row, checksum, now, plain, versions, write_record
from tftransfer.weights.seal import sealed_write

_BYTES = {"float64": 8, "int64": 8, "uint64": 8}


def save_backbone(backbone, path, *, objective=None, history=None, preprocessing=None, seed=None):
    """Saves a backbone to a `.weights.h5` file that describes itself.

    Plain Keras loads the file with `model.load_weights(path)`; `load_backbone(path)` needs no model, because
    the file also holds, in the attribute `"tftransfer"` of its root, the backbone's config, the path, shape,
    type and checksum of each variable, and what is passed here. The file is written whole or not at all, and
    read back before it takes its place. Optimizer state is not part of it.

    A model without a config (a subclass that has no `get_config`, a `Lambda` inside) is saved too, with a
    warning: its weights can be loaded by `transfer_weights` into a model that the user's code builds.

    Args:
        backbone: a built `keras.Model`.
        path: where to write; the name must end in `.weights.h5`. Folders are created.
        objective: what the backbone was trained on: an objective, or a dict with any of `"name"`, `"config"`,
            `"learning_rate"`.
        history: a `keras.callbacks.History`, or a dict of lists, one number an epoch.
        preprocessing: a dict that says what the backbone expects, such as sizes, value range, vocabulary.
        seed: the seed of the run.

    Returns:
        The path, as `pathlib.Path`.

    Raises:
        ValueError: the model is not built or has no variables, the name is wrong, something cannot be written
        as
            JSON, or a layer keeps state that a weights file cannot hold.
        OSError: the folder cannot be written or the disk is full; a file that was there is unchanged.

    Example:

    >>> import keras, tempfile
    >>> from tftransfer.weights import load_backbone
    >>> backbone = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d")], name="encoder")
    >>> path = save_backbone(backbone, tempfile.mkdtemp() + "/encoder.weights.h5", seed=1)
    >>> load_backbone(path).get_layer("d").units
    3
    """
    path = check_name(path)
    if not isinstance(backbone, keras.Model):
        raise ValueError(f"save_backbone takes a keras.Model, received {backbone!r}.")
    variables = slots(backbone)
    _check_state(backbone, variables)
    known = {
        "preprocessing": plain(preprocessing, "preprocessing"),
        "objective": plain(_describe_objective(objective), "objective"),
        "history": plain(getattr(history, "history", history), "history"),
        "seed": plain(seed, "seed"),
    }
    config = _config(backbone)
    with sealed_write(path, _size(variables, config, known)) as temporary:
        try:
            _write(backbone, temporary)
            with h5py.File(temporary, "r+") as file:
                rows = _manifest(file, variables)
                record = Record(
                    name=backbone.name,
                    backbone=config,
                    manifest=rows,
                    versions=versions(),
                    created=now(),
                    **known,
                )
                write_record(file, record)
        except RuntimeError as error:  # what h5py makes of a disk that is full, besides OSError
            raise OSError(f"HDF5 cannot write: {error}") from error
    return path


def check_savable(backbone):
    """Finds out before hours of training, not after, what `save_backbone` would say of a model.

    Args:
        backbone: a built `keras.Model`. A warning says so when its weights can be saved and no model can be
            rebuilt from the file.

    Raises:
        ValueError: the model is not built, has no variables, or keeps state that a weights file cannot hold.

    Example:

    >>> import keras
    >>> check_savable(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]))
    """
    _check_state(backbone, slots(backbone))
    _config(backbone, stacklevel=4)


def _config(backbone, stacklevel=3):
    """The model's config; None, with a warning, where it has none that could be rebuilt."""
    try:
        return plain(config_of(backbone), "The model's config")
    except ValueError as error:
        warnings.warn(
            f"{error} The weights are saved; load_backbone cannot rebuild this model.", stacklevel=stacklevel
        )
        return None


def _write(backbone, path):
    """Keras writes the file; a compiled model's training state, which Keras adds, is taken out again."""
    backbone.save_weights(path)
    with h5py.File(path, "r") as file:
        if TRAINING_STATE.isdisjoint(file):
            return
    with h5py.File(io.BytesIO(path.read_bytes()), "r") as whole, h5py.File(path, "w") as file:
        for name in whole:
            if name not in TRAINING_STATE:
                whole.copy(name, file)


def _size(variables, config, known):
    """Bytes that the file will take, rather too many."""
    values = sum(
        math.prod(slot.variable.shape) * _BYTES.get(str(slot.variable.dtype), 4) for slot in variables
    )
    text = len(json.dumps([config, known], ensure_ascii=False).encode())
    return values + text + 8192 * len(variables) + 16_384


def _manifest(file, variables):
    """Finds each variable in the file that Keras wrote, by names and then by its bytes, and reads it back."""
    arrays = stored_arrays(file, "The new file")
    by_key = {}
    for array in filter(lambda array: is_weight(array.location), arrays.values()):
        by_key.setdefault(key_of(file, array.location), []).append(array)
    rows, taken = [], set()
    for slot in variables:
        live = as_numpy(slot.variable)
        candidates = by_key.get((names_in_file(slot.chain), slot.index), []) or arrays.values()
        wanted = checksum(live)
        for array in candidates:
            fits = array.location not in taken and array.shape == tuple(live.shape)
            if fits and checksum(read_array(file, array, "The new file")) == wanted:
                taken.add(array.location)
                rows.append(Row(slot.path, array.location, array.shape, array.dtype, wanted))
                break
        else:
            raise OSError(f"the variable {slot.path!r} did not reach the file as it is")
    return tuple(rows) + _copies(file, [a for a in arrays.values() if a.location not in taken], rows)


def _copies(file, rest, rows):
    """Rows of the further places where Keras wrote a variable that several layers own."""
    by_value = {(row.checksum, row.shape): row.path for row in rows}
    copies = []
    for array in rest:
        value = checksum(read_array(file, array, "The new file"))
        path = by_value.get((value, array.shape), array.location)
        if path == array.location:
            warnings.warn(
                f"A layer saves state at {path!r} that is no variable: only Keras's own load_weights restores it.",
                stacklevel=4,
            )
        copies.append(Row(path, array.location, array.shape, array.dtype, value))
    return tuple(copies)


def _check_state(backbone, variables):
    """ValueError for what a weights file cannot hold."""
    if not variables:
        raise ValueError(f"The model {backbone.name!r} has no variables: there is nothing to save.")
    lost = [slot.path for slot in variables if slot.index is None]
    if lost:
        raise ValueError(
            f"Keras does not store these variables as they are: {listed(lost)}. LoRA adapters must be merged "
            "into their kernels before the backbone is saved."
        )
    lookups = tuple(getattr(keras.layers, n) for n in ("StringLookup", "IntegerLookup", "TextVectorization"))
    for layer in backbone._flatten_layers():
        if isinstance(layer, lookups) and layer.get_config().get("vocabulary") is None:
            raise ValueError(
                f"The layer {layer.name!r} learned its vocabulary by `adapt`, which a weights file cannot "
                "hold. Build it with `vocabulary=layer.get_vocabulary()`, or keep it outside of the backbone."
            )


def _describe_objective(objective):
    if objective is None or isinstance(objective, dict):
        return objective
    description = {"name": type(objective).__name__}
    try:
        config = keras.saving.serialize_keras_object(objective)["config"]
        description["config"] = {key: value for key, value in config.items() if key != "backbone"}
    except (NotImplementedError, TypeError, ValueError, AttributeError, KeyError):
        description["config"] = None
    optimizer = getattr(objective, "optimizer", None)
    if optimizer is not None:
        description["optimizer"] = type(optimizer).__name__
        description["learning_rate"] = _peak(optimizer)
    return description


def _peak(optimizer):
    """The highest learning rate so far: of a schedule, its peak up to the step it has reached."""
    schedule = getattr(optimizer, "_learning_rate", None)
    if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return float(keras.ops.convert_to_numpy(optimizer.learning_rate))
    last = int(keras.ops.convert_to_numpy(optimizer.iterations))
    steps = {round(last * i / 100) for i in range(101)}
    return max(float(keras.ops.convert_to_numpy(schedule(step))) for step in sorted(steps))
