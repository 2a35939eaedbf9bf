"""Pictures of what a model sees and draws: augmented views, reconstructions, fills, samples."""

import keras
import numpy as np

from tftransfer import data as sources
from tftransfer.evaluation.saving import Drawing
from tftransfer.layers import patchify, random_states_kept, unpatchify
from tftransfer.objectives import (
    Autoencoder,
    BiGAN,
    MaskedAutoencoder,
    NextPatchPrediction,
    SimMIM,
    VariationalAutoencoder,
)

_HIDDEN = (0.66, 0.75, 0.86)  # colour of a patch that the encoder does not see


def views_figure(augmentation, pictures, *, views=4, count=10, path=None):
    """Shows what an augmentation makes of some pictures: are they still the same thing, to a human eye?

    The first look before contrastive pretraining: where the views of a 6 look like a 9, the features will not
    tell these apart. The augmentation's random numbers are put back, so that looking changes no later run.

    Args:
        augmentation: Layer or function that gives one random view of a batch, such as `layers.RandomView()`
            or an objective's `.augmentation`.
        pictures: Array (n, height, width, channels), `(x, y)`, `Examples` or `tf.data.Dataset`; uint8 is
            scaled to [0, 1].
        views: Views of each picture.
        count: The first so many pictures are shown.
        path: Where to save the figure as well, atomically; its ending names the format.

    Returns:
        The `matplotlib.figure.Figure`: a row of originals, and below each its views.

    Raises:
        ValueError: What is given is no augmentation or no pictures.
        OSError: `path` cannot be written.

    Example:

    >>> from tftransfer import data, layers
    >>> figure = views_figure(layers.RandomView(flip=False), data.load_digits("test"))
    >>> figure.get_suptitle()
    'Views by RandomView'
    """
    if not callable(augmentation):
        raise ValueError(
            f"augmentation must be a Keras layer or a function of a batch; received {augmentation!r}."
        )
    x = _first(pictures, count)
    is_layer = isinstance(augmentation, keras.layers.Layer)
    options = {"training": True} if is_layer else {}
    rows = [("original", x)]
    with random_states_kept(augmentation if is_layer else None):
        for number in range(views):
            view = augmentation(keras.ops.convert_to_tensor(x), **options)
            rows.append((f"view {number + 1}", keras.ops.convert_to_numpy(view)))
    name = type(augmentation).__name__ if is_layer else getattr(augmentation, "__name__", "a function")
    return _grid(rows, f"Views by {name}", path)


def reconstructions_figure(objective, pictures, *, count=10, path=None):
    """Shows what an objective draws of some pictures: its input, what it saw of it, and what it made of that.

    Of an `Autoencoder` and a `VariationalAutoencoder`: input, corrupted input (with noise), reconstruction. Of a
    `BiGAN`: what its generator makes of a picture's code. Of a `MaskedAutoencoder` and a `SimMIM`: input, what it saw,
    and that with the hidden places filled in. Of a `NextPatchPrediction`: each patch as it was predicted
    from the true ones before it. With `normalize_targets` a model has learned each patch less its mean and divided by
    its deviation: both are put back *from the original*, so that the shapes within a patch are the model's and its
    brightness and contrast are not; the title says so. The objective's random numbers are put back, so that
    looking changes no later run.

    Args:
        objective: One of those objectives, over pictures.
        pictures: Array (n, height, width, channels), `(x, y)`, `Examples` or `tf.data.Dataset`, best ones
            that were not trained on.
        count: The first so many pictures are shown.
        path: Where to save the figure as well, atomically; its ending names the format.

    Returns:
        The `matplotlib.figure.Figure`, one column per picture.

    Raises:
        ValueError: The objective draws no pictures, or no pictures are given.
        OSError: `path` cannot be written.

    Example:

    >>> from tftransfer import backbones, data, objectives
    >>> objective = objectives.MaskedAutoencoder(backbones.vit((8, 8, 1), width=32, depth=1, num_heads=2))
    >>> figure = reconstructions_figure(objective, data.load_digits("test"))
    >>> [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    ['input', 'visible', 'filled in']
    """
    if not reconstructs(objective):
        raise ValueError(
            f"Pictures are reconstructed by {', '.join(cls.__name__ for cls in _ROWS)} over pictures; received "
            f"{type(objective).__name__} over {getattr(objective, 'backbone', objective)}."
        )
    x = _first(pictures, count, objective.backbone)
    title = f"Reconstructions by {type(objective).__name__}"
    if getattr(objective, "normalize_targets", False):
        title += "\nbrightness and contrast of each drawn patch are the original's"
    with random_states_kept(objective):
        rows = _rows_of(objective)(objective, x)
    return _grid([("input", x), *rows], title, path)


def samples_figure(objective, *, count=40, columns=10, path=None):
    """Shows examples that a generative objective makes out of noise.

    Their variety is worth as much as their looks: a generator that makes a few pictures only has collapsed, whatever
    its loss. The objective's random numbers are put back, so that looking changes no later run, and two looks
    at one state show the same pictures.

    Args:
        objective: An objective over pictures with a method `sample(count)`: `VariationalAutoencoder`, `GAN`, `BiGAN`.
        count: How many pictures.
        columns: Pictures a row.
        path: Where to save the figure as well, atomically; its ending names the format.

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        ValueError: The objective makes no pictures, or a number is below 1.
        OSError: `path` cannot be written.

    Example:

    >>> from tftransfer import backbones, objectives
    >>> figure = samples_figure(objectives.GAN(backbones.cnn((8, 8, 1), filters=(8,)), latent_width=4), count=20)
    >>> len(figure.axes), figure.get_suptitle()
    (20, 'Samples of GAN')
    """
    if not samples(objective):
        raise ValueError(
            f"Samples are made by VariationalAutoencoder, GAN and BiGAN over pictures; received "
            f"{type(objective).__name__}."
        )
    if count < 1 or columns < 1:
        raise ValueError(f"count and columns are whole numbers from 1 up; received {count} and {columns}.")
    with random_states_kept(objective):
        made = _numpy(objective.sample(count))
    columns = min(columns, count)
    made = np.concatenate([made, np.ones((-count % columns, *made.shape[1:]), "float32")])
    rows = [("", made[i : i + columns]) for i in range(0, count, columns)]
    return _grid(rows, f"Samples of {type(objective).__name__}", path)


def reconstructs(objective):
    """Whether `reconstructions_figure` can show what an objective draws."""
    shape = getattr(getattr(objective, "backbone", None), "input_shape", ())
    return _rows_of(objective) is not None and len(shape) == 4


def samples(objective):
    """Whether `samples_figure` can show what an objective makes."""
    shape = getattr(getattr(objective, "backbone", None), "input_shape", ())
    return hasattr(objective, "sample") and len(shape) == 4


def _rows_of(objective):
    return next((rows for cls, rows in _ROWS.items() if isinstance(objective, cls)), None)


def _numpy(images):
    return keras.ops.convert_to_numpy(images).astype("float32")


def _autoencoder_rows(objective, x):
    corrupted = objective._corrupt(keras.ops.convert_to_tensor(x))
    outputs = objective({"corrupted": corrupted, "target": x}, training=False)
    rows = [("corrupted", _numpy(corrupted)), ("reconstruction", _numpy(outputs["reconstruction"]))]
    return rows if objective.noise else rows[1:]


def _variational_rows(objective, x):
    outputs = objective(keras.ops.convert_to_tensor(x), training=False)
    return [("reconstruction", _numpy(outputs["location"]))]


def _code_rows(objective, x):
    code = objective.encode(keras.ops.convert_to_tensor(x), training=False)
    return [("from its code", _numpy(objective.make(code, training=False)))]


def _masked_rows(objective, x):
    outputs = objective(keras.ops.convert_to_tensor(x), training=False)
    patches, drawn = _patches(
        x, outputs["prediction"], objective.targets.patch_size, objective.normalize_targets
    )
    hidden = np.broadcast_to(_numpy(outputs["mask"])[..., None] > 0.5, patches.shape)
    return _filled(x, _assemble(hidden, x) > 0.5, _assemble(drawn, x))


def _square_rows(objective, x):
    outputs = objective(keras.ops.convert_to_tensor(x), training=False)
    drawn = _numpy(outputs["prediction"])
    if objective.normalize_targets:
        mean, deviation = map(_numpy, objective.moments(keras.ops.convert_to_tensor(x)))
        drawn = drawn * deviation + mean
    return _filled(x, np.broadcast_to(_numpy(outputs["mask"]) > 0.5, x.shape), drawn)


def _filled(x, hidden, drawn):
    return [("visible", np.ma.masked_array(x, hidden)), ("filled in", np.where(hidden, drawn, x))]


def _next_patch_rows(objective, x):
    said = _numpy(objective(keras.ops.convert_to_tensor(x), training=False)["prediction"])
    said = np.concatenate([said[:, :1], said[:, :-1]], axis=1)  # what was said at t is of patch t + 1
    patches, drawn = _patches(x, said, objective.patch_size, objective.normalize_targets)
    drawn[:, 0] = patches[:, 0]  # the first one is given
    return [("predicted", _assemble(drawn, x))]


def _patches(x, drawn, patch_size, normalized):
    """Patches of the pictures, and drawn ones in the same units: those that were normalised brought back."""
    patches = _numpy(patchify(keras.ops.convert_to_tensor(x), patch_size))
    drawn = _numpy(drawn)
    if normalized:
        drawn = drawn * np.sqrt(patches.var(-1, keepdims=True) + 1e-6) + patches.mean(-1, keepdims=True)
    return patches, drawn


def _assemble(patches, x):
    return _numpy(unpatchify(keras.ops.convert_to_tensor(np.asarray(patches, "float32")), x.shape[1:]))


_ROWS = {
    Autoencoder: _autoencoder_rows,
    VariationalAutoencoder: _variational_rows,
    MaskedAutoencoder: _masked_rows,
    SimMIM: _square_rows,
    NextPatchPrediction: _next_patch_rows,
    BiGAN: _code_rows,
}


def _grid(rows, title, path):
    """Named rows of pictures, all on the scale of the first row; masked values get a colour of their own."""
    first = rows[0][1]
    low, high = min(0.0, float(first.min())), max(1.0, float(first.max()))

    def paint(image):
        hidden = np.ma.getmaskarray(image).any(-1, keepdims=True)
        image = np.clip((np.ma.getdata(image) - low) / (high - low), 0, 1)
        channels = image.shape[-1]
        image = image[..., :3] if channels in (3, 4) else image.mean(-1, keepdims=True)
        return np.where(hidden, _HIDDEN, image)  # (h, w, 3)

    def draw(figure):
        panels = figure.subplots(len(rows), len(first), squeeze=False)
        for line, (name, images) in zip(panels, rows, strict=True):
            for axes, image in zip(line, images, strict=True):
                axes.imshow(paint(image), interpolation="nearest")
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
            line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        figure.suptitle(title, fontsize=11)

    return Drawing((1.2 + 0.78 * len(first), 0.5 + 0.78 * len(rows)), draw).plot(path)


def _first(pictures, count, backbone=None):
    """The first `count` pictures, float32 (n, height, width, channels), as a model would read them."""
    x = pictures[0] if isinstance(pictures, tuple) else pictures
    x = np.asarray(x[:count]) if hasattr(x, "__array__") else x
    shape = None if backbone is None else backbone.input_shape[1:]
    if isinstance(x, np.ndarray):
        sources.check_examples(x, input_shape=shape, value_range=None, name="pictures")
    scale = backbone is None or not sources.rescales_pixels(backbone)
    batch = next(iter(sources.batches(x, batch_size=count, labels=False, scale=scale, input_shape=shape)))
    if isinstance(batch, dict) or len(batch.shape) != 4:
        shape = "a dict" if isinstance(batch, dict) else f"shape {tuple(batch.shape)}"
        raise ValueError(f"pictures must have shape (n, height, width, channels); received {shape}.")
    return keras.ops.convert_to_numpy(batch)[:count].astype("float32")
