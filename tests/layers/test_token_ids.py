"""Ids that know their tokenizer stay so, whatever is done to them."""

import pickle

import numpy as np

from tftransfer.layers import TokenIds

IDS = TokenIds([[5, 6, 0, 0], [7, 0, 8, 0], [0, 0, 0, 0], [1, 2, 3, 4]], checksum="c0ffee")


def test_lengths_end_at_the_last_token():
    assert IDS.lengths.tolist() == [2, 3, 0, 4]
    assert type(IDS.lengths) is np.ndarray and IDS[:0].lengths.tolist() == []


def test_parts_copies_and_pickles_know_the_tokenizer():
    for part in (IDS[1:], IDS[[2, 0]], IDS[IDS.lengths > 2], IDS.copy(), pickle.loads(pickle.dumps(IDS))):
        assert isinstance(part, TokenIds) and part.checksum == "c0ffee"
    assert pickle.loads(pickle.dumps(IDS)).tolist() == IDS.tolist()


def test_without_a_tokenizer_and_as_plain_numbers():
    assert TokenIds([[1]]).checksum is None
    assert type(np.asarray(IDS)) is np.ndarray and (IDS + 1).tolist()[0] == [6, 7, 1, 1]
