"""What is read off the ids of a text: documents, places, types, padding."""

import numpy as np
import pytest
from keras import ops

from tftransfer import backbones
from tftransfer.layers import HidePadding, TextSegments, TokenPositions, TokenTypes, word_table

END = 3
IDS = np.array([[7, 8, END, 9, END, 0], [5, 6, 7, 8, 9, 10]], "int32")


@pytest.mark.compute
def test_segments_are_documents():
    segments = ops.convert_to_numpy(TextSegments(END)(IDS))
    assert segments.tolist() == [[1, 1, 1, 2, 2, 0], [1] * 6]
    assert ops.convert_to_numpy(TextSegments()(IDS)).tolist() == [[1, 1, 1, 1, 1, 0], [1] * 6]


@pytest.mark.compute
def test_places_begin_anew_in_each_document():
    zeros = np.zeros((2, 6, 4), "float32")
    layer = TokenPositions(6, END)
    found = ops.convert_to_numpy(layer(zeros, IDS))
    table = ops.convert_to_numpy(layer.table)
    np.testing.assert_allclose(found[0, :5], table[[0, 1, 2, 0, 1]])
    np.testing.assert_allclose(found[1], table)
    plain = TokenPositions(8)
    found = ops.convert_to_numpy(plain(zeros, IDS))
    np.testing.assert_allclose(found[0], ops.convert_to_numpy(plain.table)[:6])
    with pytest.raises(ValueError, match="6 tokens, and the position table 4 places"):
        TokenPositions(4)(zeros, IDS)


@pytest.mark.compute
def test_types_change_behind_the_first_end():
    zeros, layer = np.zeros((2, 6, 4), "float32"), TokenTypes(END)
    found, table = ops.convert_to_numpy(layer(zeros, IDS)), ops.convert_to_numpy(layer.table)
    np.testing.assert_allclose(found[0], table[[0, 0, 0, 1, 1, 0]], atol=1e-7)
    np.testing.assert_allclose(found[1], table[[0] * 6], atol=1e-7)


@pytest.mark.compute
def test_padding_is_exactly_zero():
    features = np.random.default_rng(0).normal(size=(1, 3, 2)).astype("float32")
    hidden = ops.convert_to_numpy(HidePadding()(features, np.array([[1, 2, 0]])))
    np.testing.assert_array_equal(hidden[0, :2], features[0, :2])
    assert not hidden[0, 2].any()


def test_the_word_table_of_a_model():
    backbone = backbones.lstm((8,), vocabulary_size=11, width=4, depth=1)
    assert word_table(backbone).shape == (11, 4)
    assert word_table(backbones.mlp((8,), units=(4,))) is None
