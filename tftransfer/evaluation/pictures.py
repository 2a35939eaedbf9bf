"""Pictures of what a model sees and draws: augmented views, reconstructions."""

import keras
import numpy as np

from tftransfer import data as sources
from tftransfer.evaluation.saving import Drawing
from tftransfer.layers import patchify, random_states_kept, unpatchify
from tftransfer.objectives import Autoencoder, MaskedAutoencoder

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
    """Shows what an autoencoder makes of some pictures: its input, what it saw of it, and what it drew.

    Of an `Autoencoder`: input, corrupted input (with noise), reconstruction. Of a `MaskedAutoencoder`: input,
    the patches it saw, and these with the hidden ones filled in. With `normalize_targets` it has learned each
    patch less its mean and divided by its deviation: both are put back *from the original*, so that the
    shapes within a patch are the model's and its brightness and contrast are not; the title says so. The
    objective's random numbers are put back, so that looking changes no later run.

    Args:
        objective: An `objectives.Autoencoder` or `objectives.MaskedAutoencoder` that reads pictures.
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
    if not isinstance(objective, (Autoencoder, MaskedAutoencoder)):
        raise ValueError(
            f"Pictures are reconstructed by an Autoencoder or a MaskedAutoencoder; received "
            f"{type(objective).__name__}."
        )
    x = _first(pictures, count, objective.backbone)
    title = f"Reconstructions by {type(objective).__name__}"
    with random_states_kept(objective):
        if isinstance(objective, MaskedAutoencoder):
            rows = _masked_rows(objective, x)
            if objective.normalize_targets:
                title += "\nbrightness and contrast of each hidden patch are the original's"
        else:
            rows = _autoencoder_rows(objective, x)
    return _grid(rows, title, path)


def _autoencoder_rows(objective, x):
    corrupted = objective._corrupt(keras.ops.convert_to_tensor(x))
    outputs = objective({"corrupted": corrupted, "target": x}, training=False)
    rows = [("input", x), ("corrupted", corrupted), ("reconstruction", outputs["reconstruction"])]
    if not objective.noise:
        del rows[1]
    return [(name, keras.ops.convert_to_numpy(images).astype("float32")) for name, images in rows]


def _masked_rows(objective, x):
    outputs = objective(keras.ops.convert_to_tensor(x), training=False)
    drawn, mask = (
        keras.ops.convert_to_numpy(outputs[key]).astype("float32") for key in ("prediction", "mask")
    )
    patches = keras.ops.convert_to_numpy(
        patchify(keras.ops.convert_to_tensor(x), objective.targets.patch_size)
    )
    if objective.normalize_targets:
        drawn = drawn * np.sqrt(patches.var(-1, keepdims=True) + 1e-6) + patches.mean(-1, keepdims=True)
    hidden = np.broadcast_to(mask[..., None] > 0.5, patches.shape)

    def assemble(values):
        values = keras.ops.convert_to_tensor(np.asarray(values, "float32"))
        return keras.ops.convert_to_numpy(unpatchify(values, x.shape[1:]))

    visible = np.ma.masked_array(x, assemble(hidden) > 0.5)
    return [("input", x), ("visible", visible), ("filled in", assemble(np.where(hidden, drawn, patches)))]


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
