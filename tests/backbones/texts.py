"""What the tests of text backbones share."""

import numpy as np

from tftransfer.layers import Tokenization

SMALL = {"width": 16, "depth": 2}
CORPUS = ["the cat sat on the mat", "a dog ate the log"] * 5


def tokenization(kind="wordpiece", max_length=12):
    size = 300 if kind == "bpe" else 40
    return Tokenization(max_length=max_length).adapt(CORPUS, kind=kind, vocabulary_size=size, verbose=0)


def check_padding_changes_nothing(model, *, atol=1e-5):
    """The features of a text are the same whatever stands behind it or beside it, and zero at padding."""
    known = next(layer for layer in model._flatten_layers() if isinstance(layer, Tokenization))
    ids = np.asarray(known.encode(["the cat sat", "a dog ate the log", ""]))
    features = np.asarray(model(ids))
    assert not features[ids == 0].any() and np.isfinite(features).all()
    for row, length in enumerate((ids > 0).sum(1)):
        alone = np.asarray(model(ids[row : row + 1, :length]))
        np.testing.assert_allclose(features[row, :length], alone[0], atol=atol)
    return features


def sees(model, place):
    """Which of five tokens change the features at a place."""
    ids = np.array([[6, 7, 8, 9, 10]], "int32")
    features = np.asarray(model(ids))
    found = []
    for other in range(5):
        changed = ids.copy()
        changed[0, other] = 12
        found.append(bool(np.abs(np.asarray(model(changed))[0, place] - features[0, place]).max() > 1e-6))
    return found


def check_unit_size(model):
    """The features of each token, of ids below 20, have a standard deviation of about 1."""
    features = np.asarray(model(np.arange(1, 17).reshape(2, 8)))
    np.testing.assert_allclose(features.std(axis=-1), 1.0, atol=0.25)
