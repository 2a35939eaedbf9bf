"""The gru over texts."""

import numpy as np
import pytest

from tests.backbones.texts import SMALL, check_padding_changes_nothing, check_unit_size, sees, tokenization
from tftransfer.backbones import gru


@pytest.mark.parametrize("bidirectional", [False, True])
def test_what_a_token_sees(bidirectional):
    model = gru(tokenization(), bidirectional=bidirectional, **SMALL)
    check_padding_changes_nothing(model)
    assert sees(model, 2) == [True, True, True, bidirectional, bidirectional]
    assert model.output_shape == (None, None, 16)


def test_dropout_and_settings():
    model = gru((8,), vocabulary_size=20, dropout=0.5, **SMALL)
    ids = np.ones((2, 5), "int32")
    assert np.abs(np.asarray(model(ids, training=True)) - np.asarray(model(ids))).max() > 1e-3
    with pytest.raises(ValueError, match="does not divide"):
        gru((8,), vocabulary_size=20, width=5, bidirectional=True)


def test_features_have_unit_size_from_the_start():
    check_unit_size(gru((8,), vocabulary_size=20, **SMALL))
