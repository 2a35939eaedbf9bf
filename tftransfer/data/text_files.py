"""Reading texts: a `.txt` file with one a line, with documents between blank lines, or a folder of such files."""

import os
from pathlib import Path

import numpy as np

from tftransfer.data.examples import Examples
from tftransfer.data.folders import TEXTS, list_files

__all__ = ["load_text", "text_array"]

_MEMORY = 5  # bytes in memory for each byte of the file, rather too many


def load_text(path, *, documents=False, split=None, memory_limit=2 * 1024**3):
    """Reads the texts of a `.txt` file, one a line or documents that blank lines separate, or of a folder of files.

    Args:
        path: The file, in UTF-8; or a folder, of which each `.txt` file is one document. Folders in it are classes, as
            with pictures: `class/file.txt`, or `split/class/file.txt`, or files alone (no labels).
        documents: False: each line that is not blank is a text. True: the lines up to a blank one are one text, line
            ends kept; what a language model should read on end (`objectives.CausalLM`). Of a folder each file is one.
        split: A part that lies in a file of its own: "test" with `corpus.txt` reads `corpus_test.txt`. Of a folder the
            name of a folder right under it.
        memory_limit: Bytes to hold in memory at most.

    Returns:
        `Examples` with x an array of `str` and y None, or the classes of a folder. Blank texts are left out.

    Raises:
        FileNotFoundError: When there is no such file.
        ValueError: When a file is not valid UTF-8, all are too big, there is no text, or a folder's layout is not
            clear.

    Example:

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "corpus.txt")
    >>> with open(path, "w") as file:
    ...     _ = file.write("One.\\nTwo.\\n\\nThree.\\n")
    >>> load_text(path).x.tolist(), load_text(path, documents=True).x.tolist()
    (['One.', 'Two.', 'Three.'], ['One.\\nTwo.', 'Three.'])
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return _folder(path, split, memory_limit)
    if split is not None:
        path = path.with_name(f"{path.stem}_{split}{path.suffix}")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}. Give the path of a text file, one text a line.")
    _check_size([path], path, memory_limit)
    lines = _read(path).splitlines()
    if documents:
        texts, texts_end = [[]], [*lines, ""]
        for line in texts_end:
            if line.strip():
                texts[-1].append(line)
            elif texts[-1]:
                texts.append([])
        texts = ["\n".join(text) for text in texts if text]
    else:
        texts = [line for line in (line.strip() for line in lines) if line]
    if not texts:
        raise ValueError(f"{path} holds no text: every line is blank.")
    return Examples(text_array(texts), name=path.stem)


def text_array(texts):
    """Texts as an array of objects: one long text must not make all others long."""
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return array


def _folder(folder, split, memory_limit):
    files, labels, class_names = list_files(folder, split=split, endings=TEXTS, kind="texts")
    _check_size(files, folder, memory_limit)
    texts = [_read(Path(file)).strip() for file in files]
    kept = [place for place, text in enumerate(texts) if text]
    if not kept:
        raise ValueError(f"{folder} holds no text: all its {len(files)} files are blank.")
    name = f"{folder.resolve().name}/{split}" if split else folder.resolve().name
    labels = None if labels is None else labels[kept]
    return Examples(text_array([texts[i] for i in kept]), labels, class_names=class_names, name=name)


def _check_size(files, path, memory_limit):
    size = sum(map(os.path.getsize, files))
    if size * _MEMORY > memory_limit:
        raise ValueError(
            f"{path} has {size / 1024**3:.2f} GiB and would take more than memory_limit "
            f"({memory_limit / 1024**3:.2f} GiB). Raise memory_limit (bytes), or read it in parts."
        )


def _read(path):
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not valid UTF-8: {error}. Convert it, for example by iconv -f latin1 -t utf-8, or read it with "
            f"errors='replace' and hand over the list of texts."
        ) from error
