"""Small backbones and batches that objectives are tried on."""

import tempfile
from pathlib import Path

import keras
import numpy as np
import pytest

from tftransfer import backbones
from tftransfer.layers import Tokenization


def tiny_tokenization(max_length=12):
    """Letters, and letters that go on with a word: 5 special ids, then 24."""
    letters = "abcdefghijkl"
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "vocab.txt")
        path.write_text("\n".join([*special, *letters, *(f"##{x}" for x in letters)]))
        return Tokenization.from_file(path, max_length)


def tiny_backbone(kind):
    if kind == "vit":
        return backbones.vit((8, 8, 1), patch_size=2, width=16, depth=1, num_heads=2)
    if kind == "causal":
        return backbones.vit((8, 8, 1), patch_size=2, width=16, depth=1, num_heads=2, causal=True)
    if kind == "cnn":
        return backbones.cnn((8, 8, 1), filters=(4, 8))
    if kind in ("bert", "dropout", "gpt"):
        build = backbones.gpt if kind == "gpt" else backbones.bert
        dropout = 0.1 if kind == "dropout" else 0.0
        return build(tiny_tokenization(), width=16, depth=1, num_heads=2, dropout=dropout)
    if kind == "table":
        return backbones.mlp((64,), units=(16,))
    return backbones.mlp((8, 8, 1), units=(16,))


def make(cls, seed=0, **settings):
    """The objective, with its defaults alone unless told otherwise, on the first small backbone that it accepts."""
    keras.utils.set_random_seed(seed)
    for kind in ("cnn", "vit", "causal", "table", "bert", "dropout", "gpt"):
        try:
            return cls(tiny_backbone(kind), **settings)
        except ValueError as error:
            refused = error
    raise refused


def stripes():
    """Stripes at random places: examples with something to learn."""
    draw = np.random.default_rng(0)
    rows, phase = np.arange(8) / 8, draw.random((32, 1, 1))
    waves = np.sin(2 * np.pi * (rows[None, :, None] * 2 + phase)) * np.cos(
        np.pi * rows[None, None, :] + phase
    )
    return ((waves + 1) / 2)[..., None].astype("float32")


def texts():
    """Ids that count up from a random beginning, of 4 to 10 tokens between start and end: something to learn."""
    draw = np.random.default_rng(0)
    ids = np.zeros((32, 12), "int32")
    for row, length, first in zip(ids, draw.integers(4, 11, 32), draw.integers(0, 12, 32), strict=True):
        row[: length + 2] = [2, *(5 + (first + np.arange(length)) % 12), 3]
    return ids


def examples(objective):
    """What an objective's backbone reads: 32 texts, or `stripes` as 32 pictures or 32 rows of 64 columns."""
    if objective.backbone.input_shape == (None, None):
        return texts()
    return stripes().reshape(-1, *objective.backbone.input_shape[1:])


@pytest.fixture
def pictures():
    return stripes()
