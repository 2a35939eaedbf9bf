"""Folders of pictures or texts: class folders, or no classes, with or without train/test folders above them."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tftransfer.data import pictures
from tftransfer.data.examples import Examples
from tftransfer.data.progress import Progress

EXTENSIONS = frozenset(".jpg .jpeg .jpe .png .bmp .gif .webp .tif .tiff .ppm .pgm .pbm".split())
TEXTS = frozenset([".txt"])
SPLIT_FOLDERS = frozenset(
    "train training test testing val valid validation dev unlabeled unlabelled extra".split()
)


def _hidden(name):
    return name.startswith((".", "__MACOSX"))


def _subfolders(folder):
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not _hidden(entry.name))


def _files(folder, endings, *, deep=True):
    """Paths of the files with one of the endings, sorted, found one by one."""
    for root, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(f for f in folders if not _hidden(f)) if deep else []
        for file in sorted(files):
            if not _hidden(file) and Path(file).suffix.lower() in endings:
                yield os.path.join(root, file)


def _choose_split(folder, split):
    subfolders = _subfolders(folder)
    if split is not None:
        if split not in subfolders:
            raise ValueError(
                f"{folder} has no folder {split!r}. Received split={split!r}; the folders there are "
                f"{subfolders or 'none'}. Name one of them, or leave split out to read all of {folder}."
            )
        return folder / split
    if subfolders and SPLIT_FOLDERS.issuperset(name.lower() for name in subfolders):
        for name in subfolders:
            if name.lower() in ("train", "training"):
                return folder / name
        raise ValueError(
            f"{folder} is divided into {subfolders}, without a train folder. Pass split= one of them."
        )
    return folder


def list_files(folder, *, split=None, endings=EXTENSIONS, kind="pictures"):
    """Finds the files of a folder and their classes.

    Args:
        folder: The folder: `class/file`, or `split/class/file`, or files alone (no labels). Files in folders below a
            class folder belong to that class. Hidden files and folders are ignored.
        split: Name of a folder right under `folder`. None reads everything, or the train folder where all
            subfolders bear the names of splits (train, validation, test, ...).
        endings: Set of the files' endings, such as ".png"; other files are ignored.
        kind: What they hold, for messages.

    Returns:
        (files, labels, class_names): list of str, int64 array or None, list of str or None. Sorted by name.

    Raises:
        ValueError: When there are no such files, a class folder is empty, or loose files lie beside class folders.
    """
    folder = _choose_split(Path(folder), split)
    loose, class_names = list(_files(folder, endings, deep=False)), _subfolders(folder)
    by_class = {name: list(_files(folder / name, endings)) for name in class_names}
    count = sum(map(len, by_class.values()))
    if not loose and not count:
        raise ValueError(
            f"{folder} holds no {kind}. Looked for files ending in {', '.join(sorted(endings))}, "
            f"directly in it and in its folders {class_names}. Give a folder of {kind}, or of class "
            f"folders with {kind}."
        )
    if loose and count:
        raise ValueError(
            f"{folder} holds {len(loose)} {kind} beside folders with {count} more, so the classes are "
            f"not clear. Move the loose ones (such as {os.path.basename(loose[0])}) into a class folder, "
            f"or away."
        )
    if loose:
        return loose, None, None
    empty = [name for name, files in by_class.items() if not files]
    if empty:
        raise ValueError(f"the class folders {empty} of {folder} hold no {kind}. Fill them or remove them.")
    labels = np.repeat(np.arange(len(class_names)), [len(by_class[name]) for name in class_names])
    return [file for name in class_names for file in by_class[name]], labels.astype(np.int64), class_names


def holds_texts(folder):
    """Whether a folder holds `.txt` files and no picture."""
    return next(_files(folder, EXTENSIONS), None) is None and next(_files(folder, TEXTS), None) is not None


def _each(function, files, what):
    """Results of `function(file)` in order, by threads (Pillow decodes outside Python's lock); unreadable "
    "ones raise."""

    def attempt(file):
        try:
            return function(file)
        except OSError as error:
            return error

    progress, unreadable = Progress(len(files), what), []
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        for i, result in enumerate(pool.map(attempt, files)):
            if isinstance(result, OSError):
                unreadable.append(f"{files[i]} ({result})")
            else:
                yield i, result
            progress.add(1)
    if unreadable:
        more = f"\n  and {len(unreadable) - 10} more" if len(unreadable) > 10 else ""
        raise ValueError(
            f"{len(unreadable)} of {len(files)} pictures cannot be read. Repair them or remove them:\n  "
            + "\n  ".join(unreadable[:10])
            + more
        )


def _common_shape(files, image_size, folder):
    """(height, width, channels) of all pictures, from their headers. One colour picture makes all colour."""
    headers = [
        header for _, header in _each(pictures.inspect_picture, files, f"looking at the pictures of {folder}")
    ]
    channels = 1 if all(grey for *_, grey in headers) else 3
    if image_size is not None:
        return (*image_size, channels)
    sizes = {(height, width) for height, width, _ in headers}
    if len(sizes) > 1:
        raise ValueError(
            f"the pictures of {folder} have {len(sizes)} different sizes (height, width), such as "
            f"{sorted(sizes)[:3]}. Pass image_size= (pixels), and all are resized and cropped to it."
        )
    return (*sizes.pop(), channels)


def load_folder(folder, *, split=None, image_size=None, memory_limit=2 * 1024**3):
    """Reads a folder of pictures into memory, or as a `tf.data.Dataset` when it is too big for that.

    Grey pictures become one channel, and three as soon as one picture among them is in colour. With
    `image_size`, each picture's shorter side is resized to fit and the longer one cropped centrally.

    Args:
        folder: The folder; see `list_files` for its layouts.
        split: Folder right under it to read, such as "train".
        image_size: Side in pixels or (height, width); may be left out when all pictures have one size.
        memory_limit: Bytes of pixels to hold in memory at most.

    Returns:
        `Examples` with uint8 x of shape (n, height, width, channels) and int64 y or None; beyond
        `memory_limit` an unbatched `tf.data.Dataset` of (picture, label) or picture, with the attribute
        `class_names`.

    Raises:
        ValueError: For empty folders, unclear layouts, unreadable pictures (all of them are named), different
            sizes without `image_size`.

    Example:

    >>> training = load_folder("flowers", split="train", image_size=64)  # doctest: +SKIP
    """
    folder, image_size = Path(folder), pictures.size_of(image_size)
    files, labels, class_names = list_files(folder, split=split)
    shape = _common_shape(files, image_size, folder)
    size, channels = shape[:2], shape[2]
    name = f"{folder.resolve().name}/{split}" if split else folder.resolve().name
    if len(files) * int(np.prod(shape)) > memory_limit:
        return _on_demand(files, labels, class_names, shape)
    x = np.empty((len(files), *shape), np.uint8)
    for i, picture in _each(
        lambda file: pictures.read_picture(file, channels, size), files, f"reading {folder}"
    ):
        x[i] = picture
    return Examples(x, labels, class_names=class_names, name=name)


def _on_demand(files, labels, class_names, shape):
    try:
        import tensorflow as tf
    except ImportError:
        raise ValueError(
            f"{len(files)} pictures of shape {shape} exceed memory_limit, and reading them on demand needs "
            f"TensorFlow, which is not installed. Raise memory_limit (bytes), or lower image_size, or "
            f"install TensorFlow."
        ) from None

    def read(file):
        return pictures.read_picture(file.decode(), shape[2], shape[:2])

    def example(file, *label):
        picture = tf.ensure_shape(tf.numpy_function(read, [file], tf.uint8, stateful=False), shape)
        return (picture, *label) if label else picture

    columns = (files,) if labels is None else (files, labels)
    # Files lie class by class: one fixed permutation, so that a shuffle buffer smaller than the folder still
    # mixes.
    order = np.random.default_rng(0).permutation(len(files))
    columns = tuple(np.asarray(column)[order] for column in columns)
    dataset = tf.data.Dataset.from_tensor_slices(columns)
    dataset = dataset.map(example, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    dataset.class_names = class_names
    return dataset
