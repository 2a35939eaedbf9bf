"""The real data sets that the benchmarks read, as arrays; see `--help` of a benchmark for where they come from."""

import gzip
import io
import os
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np

from tftransfer.data import Examples


def folder(given=None):
    """The folder of the originals: what was given, or `TFTRANSFER_DATA`."""
    given = given or os.environ.get("TFTRANSFER_DATA")
    if not given or not Path(given).is_dir():
        raise SystemExit(
            "The benchmarks read real data. Name the folder that holds mnist/, fashion_mnist/ (the four original .gz "
            "files each), cifar10_jpg/*.zip and clothing_small/*.zip (split/class/*.jpg) with --data or "
            f"TFTRANSFER_DATA; received {given!r}."
        )
    return Path(given)


def idx(root, name, split):
    """MNIST or Fashion-MNIST: pictures `(n, 28, 28, 1)` uint8, labels `(n,)`."""
    stem = {"train": "train", "test": "t10k"}[split]
    pictures = gzip.decompress((root / name / f"{stem}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((root / name / f"{stem}-labels-idx1-ubyte.gz").read_bytes())
    x = np.frombuffer(pictures, np.uint8)[16:].reshape(-1, 28, 28, 1)
    y = np.frombuffer(labels, np.uint8)[8:].astype("int64")
    return Examples(x, y, name=f"{name}/{split}")


def zipped(root, name, split, size=32):
    """A zip of split/class/*.jpg as pictures `(n, size, size, 3)` uint8: middle square, resized; labels by name."""
    from PIL import Image

    (path,) = (root / name).glob("*.zip")
    x, y = [], []
    with zipfile.ZipFile(path) as archive:
        files = sorted(PurePosixPath(f) for f in archive.namelist() if f.endswith(".jpg"))
        files = [f for f in files if f.parts[-3] == split]
        names = sorted({f.parts[-2] for f in files})
        for file in files:
            picture = Image.open(io.BytesIO(archive.read(str(file)))).convert("RGB")
            side = min(picture.size)
            left, top = (picture.width - side) // 2, (picture.height - side) // 2
            picture = picture.crop((left, top, left + side, top + side))
            x.append(np.asarray(picture.resize((size, size), Image.Resampling.BOX)))
            y.append(names.index(file.parts[-2]))
    return Examples(np.stack(x), np.array(y), class_names=names, name=f"{name}/{split}")


def only(examples, classes):
    """The examples of some classes, numbered anew from 0."""
    keep = np.isin(examples.y, classes)
    y = np.searchsorted(np.array(classes), examples.y[keep])
    return Examples(examples.x[keep], y, name=examples.name)
