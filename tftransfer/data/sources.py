"""One call for every source of examples: digits, TensorFlow Datasets, folders of pictures, `.npz`, `.csv`, `.txt`."""

import os
import re
from pathlib import Path

from tftransfer.data import pictures
from tftransfer.data.csv_tables import load_csv
from tftransfer.data.digits import load_digits
from tftransfer.data.examples import Examples
from tftransfer.data.folders import holds_texts, load_folder
from tftransfer.data.npz import load_npz
from tftransfer.data.text_files import load_text

_TFDS_NAME = re.compile(r"[a-z][a-z0-9_]*([:/][\w.\-+]+)*", re.IGNORECASE)


def load(
    source,
    *,
    split=None,
    image_size=None,
    label=None,
    class_names=None,
    text=None,
    documents=False,
    data_dir=None,
    manual_dir=None,
    memory_limit=2 * 1024**3,
):
    """Loads examples from wherever they are.

    Args:
        source: One of

            - "digits": scikit-learn's handwritten digits (`load_digits`), splits "train" and "test";
            - the path of a folder of pictures: class folders, or none for unlabelled pictures, with or
              without split folders above them (`load_folder`);
            - the path of an `.npz` file with x and, where labelled, y (`load_npz`);
            - the path of a table, `.csv` or `.tsv`: x is a dict of columns, or the column `text` (`load_csv`);
            - the path of a `.txt` file: x are its lines, or its documents (`load_text`);
            - the path of a folder with `.txt` files and no picture: each file is a text, class folders are labels
              (`load_text`);
            - the name of a data set of TensorFlow Datasets, such as "fashion_mnist" (`load_tfds`). A folder
              of that name in the working directory goes before it, unless `data_dir` or `manual_dir` is
              given.
        split: Which part, such as "test". None is the training part where the source has parts, else
            everything.
        image_size: Side in pixels, or (height, width): the shorter side of each picture is resized to fit and
            the longer one cropped centrally. None keeps the size.
        label: Tables only: the name of the column that holds the labels.
        class_names: Tables only: the classes in the order of their numbers; any other label is an error.
        text: Tables only: the name of the column that holds the texts, for a model of texts.
        documents: A `.txt` file only: True where a text goes on to the next blank line, False where each line is one.
        data_dir: TFDS only: where prepared data sets lie and are put.
        manual_dir: TFDS only: folder with the original files, used instead of downloading them.
        memory_limit: Bytes of x to hold in memory at most.

    Returns:
        `Examples`, the pair (x, y) with `class_names` and `name`; y is None without labels. uint8 pictures
        stay uint8. A folder or TFDS data set beyond `memory_limit` comes as an unbatched `tf.data.Dataset`
        with the attribute `class_names`, read on demand. `batches` takes both.

    Raises:
        ValueError: When the source is unknown, empty, unreadable or too big, or has no such split.
        OSError: When a file or folder does not exist, or originals can be neither found nor downloaded.
        ImportError: For TFDS without TensorFlow.

    Example:

    >>> test = load("digits", split="test", image_size=16)
    >>> test
    Examples(x=float32 (540, 16, 16, 1), y=int64 (540,), 10 classes, name='digits/test')
    """
    if not isinstance(source, (str, os.PathLike)):
        raise ValueError(
            f"a source is a name or a path. Received a {type(source).__name__}. Arrays and "
            f"tf.data.Datasets need no loading: hand them over as they are, as x or (x, y)."
        )
    name, path = os.fspath(source), Path(source).expanduser()
    is_table = path.suffix.lower() in (".csv", ".tsv")
    for word, given in (("label", label), ("class_names", class_names), ("text", text)):
        if given is not None and not is_table:
            raise ValueError(f"{word}={given!r} is for a table, and {name} is no .csv or .tsv file.")
    for_tfds = data_dir is not None or manual_dir is not None
    if name == "digits":
        digits = load_digits(split)
        x = pictures.fit_pictures(digits.x, image_size)
        return Examples(x, digits.y, class_names=digits.class_names, name=digits.name)
    if is_table:
        columns = {"label": label, "class_names": class_names, "text": text}
        return load_csv(path, split=split, **columns, memory_limit=memory_limit)
    if path.suffix.lower() == ".txt":
        return load_text(path, documents=documents, split=split, memory_limit=memory_limit)
    if path.suffix.lower() == ".npz":
        return load_npz(path, split=split, image_size=image_size, memory_limit=memory_limit)
    if path.is_dir() and not (for_tfds and isinstance(source, str) and _TFDS_NAME.fullmatch(name)):
        if holds_texts(path):
            return load_text(path, split=split, memory_limit=memory_limit)
        return load_folder(path, split=split, image_size=image_size, memory_limit=memory_limit)
    if path.is_file():
        raise ValueError(
            f"{name} is a file of a kind that is not read here. Give an .npz file (x, y), a table (.csv, .tsv), "
            f"texts (.txt), or a folder of pictures or of .txt files."
        )
    if isinstance(source, os.PathLike) or not _TFDS_NAME.fullmatch(name):
        raise FileNotFoundError(
            f"there is no file or folder {name}. Check the path (working directory: {os.getcwd()})."
        )
    from tftransfer.data.tfds import load_tfds

    return load_tfds(
        name,
        split=split,
        image_size=image_size,
        data_dir=data_dir,
        manual_dir=manual_dir,
        memory_limit=memory_limit,
    )
