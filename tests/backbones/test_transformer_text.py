"""The transformer with rotary positions."""

import numpy as np
import pytest

from tests.backbones.texts import SMALL, check_padding_changes_nothing, sees, tokenization
from tftransfer.backbones import transformer_text


@pytest.mark.parametrize("causal", [False, True])
def test_what_a_token_sees(causal):
    model = transformer_text(tokenization(), num_heads=2, causal=causal, **SMALL)
    check_padding_changes_nothing(model)
    assert sees(model, 2) == [True, True, True, not causal, not causal]


def test_the_order_of_words_matters_without_a_position_table():
    model = transformer_text((4,), vocabulary_size=20, num_heads=2, **SMALL)
    ids = np.array([[5, 6, 7, 8, 9, 10]], "int32")  # longer than said: there is no table
    forth, back = np.asarray(model(ids)), np.asarray(model(ids[:, ::-1]))[:, ::-1]
    assert np.abs(forth - back).max() > 1e-3
    with pytest.raises(ValueError, match="pairs of channels"):
        transformer_text((4,), vocabulary_size=20, width=6, depth=1, num_heads=2)
