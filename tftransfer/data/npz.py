"""NumPy's `.npz` files with x and y, or with splits."""

import zipfile
from pathlib import Path

import numpy as np

from tftransfer.data import pictures
from tftransfer.data.examples import Examples

_X, _Y = ("x", "X", "images", "data"), ("y", "Y", "labels", "targets")


def _find(names, stems, split):
    patterns = ["{stem}"] if split is None else ["{stem}_{split}", "{split}_{stem}"]
    for pattern in patterns:
        for stem in stems:
            if (name := pattern.format(stem=stem, split=split)) in names:
                return name
    return None


def load_npz(path, *, split=None, image_size=None, memory_limit=2 * 1024**3):
    """Reads an `.npz` file: `x` and, where there are labels, `y`; or `x_train`, `y_train`, `x_test`, ...

    The names of MedMNIST (`train_images`, `train_labels`) are understood as well, and an array `class_names`
    of strings is used when it is there. Pickled objects are never loaded, because they can run code.

    Args:
        path: The file.
        split: The part of the name after the underscore, such as "test". None takes `x`, else `x_train`.
        image_size: Resizes pictures to this many pixels, a number or (height, width).
        memory_limit: Bytes to hold in memory at most.

    Returns:
        `Examples`; `y` is None when the file has none. Dtypes stay as they are.

    Raises:
        FileNotFoundError: When there is no such file.
        ValueError: When it is not an `.npz`, lacks x, holds pickled objects, or is too big for
            `memory_limit`.

    Example:

    >>> import numpy as np, tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "few.npz")
    >>> np.savez(path, x=np.zeros((4, 2)), y=[0, 1, 0, 1])
    >>> load_npz(path)
    Examples(x=float64 (4, 2), y=int64 (4,), name='few')
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}. Give the path of an .npz file.")
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"{path} is not an .npz file (or is cut short). Write one with numpy.savez(path, x=x, y=y)."
        )
    with zipfile.ZipFile(path) as archive:
        sizes = {entry.filename.removesuffix(".npy"): entry.file_size for entry in archive.infolist()}
    x_name, y_name = _find(sizes, _X, split), _find(sizes, _Y, split)
    if x_name is None and split is None:
        split = "train"
        x_name, y_name = _find(sizes, _X, split), _find(sizes, _Y, split)
    if x_name is None:
        wanted = "x, or x_train and x_test" if split == "train" else f"x_{split}"
        raise ValueError(
            f"{path} has no array {wanted}. It holds {sorted(sizes)}. Rename with numpy.savez(path, x=x, "
            f"y=y)."
        )
    if sizes[x_name] > memory_limit:
        raise ValueError(
            f"{x_name} of {path} takes {sizes[x_name] / 1024**3:.2f} GiB, more than memory_limit "
            f"({memory_limit / 1024**3:.2f} GiB). Raise memory_limit (bytes), or store uint8 or fewer "
            f"examples."
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            x, y = file[x_name], None if y_name is None else file[y_name]
            class_names = file["class_names"].tolist() if "class_names" in sizes else None
    except (ValueError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise ValueError(
            f"{path} cannot be read: {error} Store plain numeric arrays (no objects) with "
            f"numpy.savez(path, x=x, y=y)."
        ) from error
    if y is not None and y.ndim == 2 and y.shape[1] == 1 and y.dtype.kind in "iub":
        y = y[:, 0]  # (n, 1) class numbers, as MedMNIST and CIFAR store them
    name = f"{path.stem}/{split}" if split else path.stem
    return Examples(pictures.fit_pictures(x, image_size), y, class_names=class_names, name=name)
