"""The handwritten digits that scikit-learn ships: real pictures that need no download."""

import numpy as np

from tftransfer.data.examples import Examples

SPLITS = ("train", "test")


def load_digits(split=None):
    """Reads scikit-learn's handwritten digits: 1797 grey pictures of 8×8 pixels, 10 classes.

    The originals hold 17 grey levels, 0 to 16; they are returned as float32 in [0, 1] (value / 16). 30% are
    held out as the test set, the same ones on every machine, in proportion to the classes.

    Reference: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998,
    https://archive.ics.uci.edu/dataset/80

    Args:
        split: "train" (1257 pictures; the default) or "test" (540).

    Returns:
        `Examples` with x of shape (n, 8, 8, 1), float32 in [0, 1], and y of shape (n,), int64.

    Raises:
        ValueError: For another split.

    Example:

    >>> load_digits("test")
    Examples(x=float32 (540, 8, 8, 1), y=int64 (540,), 10 classes, name='digits/test')
    """
    from sklearn.datasets import load_digits as read
    from sklearn.model_selection import train_test_split

    split = "train" if split is None else split
    if split not in SPLITS:
        raise ValueError(f"the digits have the splits {', '.join(SPLITS)}. Received split={split!r}.")
    digits = read()
    x = (digits.images / 16.0).astype(np.float32)[..., None]  # (1797, 8, 8, 1)
    y = digits.target.astype(np.int64)
    parts = train_test_split(np.arange(len(y)), test_size=0.3, random_state=0, stratify=y)
    rows = np.sort(parts[SPLITS.index(split)])
    return Examples(x[rows], y[rows], class_names=digits.target_names, name=f"digits/{split}")
