"""A tiny tokenization and texts that the tasks of texts are tried on."""

import keras

from tests.objectives.conftest import tiny_tokenization
from tftransfer import backbones

LETTERS = "abcdefghijkl"


def tiny(kind="bert", max_length=12, **settings):
    keras.utils.set_random_seed(0)
    sizes = {"width": 16, "depth": 1, **settings}
    if kind not in ("lstm", "gru"):
        sizes |= {"num_heads": 2, **settings}
    return getattr(backbones, kind)(tiny_tokenization(max_length), **sizes)


def counting(rows=24, words=5):
    """Texts that go through the alphabet from different beginnings."""
    return [" ".join(LETTERS[(i + j) % 12] for j in range(words)) for i in range(rows)]
