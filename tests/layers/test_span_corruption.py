"""Spans: nothing is lost, so many tokens in so many spans, every parting equally likely."""

import collections

import keras
import numpy as np
import pytest
from keras import ops

from tests.layers.test_token_masking import SPECIAL, texts
from tftransfer.layers import cut_spans, hide_tokens

pytestmark = pytest.mark.compute


def cut(ids, **settings):
    options = {"ratio": 0.3, "mean_length": 3, "special_ids": SPECIAL, "mask_id": 4, "end_id": 3}
    options |= {"seed": keras.random.SeedGenerator(0), **settings}
    return [ops.convert_to_numpy(x) for x in cut_spans(ids, **options)]


def put_together(corrupted, target):
    """The text, out of what is left of it and what was cut out."""
    spans, whole = [], []
    for token in target[: list(target).index(3)]:
        if token == 4:
            spans.append([])
        else:
            spans[-1].append(token)
    for token in corrupted:
        whole += spans.pop(0) if token == 4 else [token]
    assert not spans
    return whole


def test_target_and_rest_make_the_text():
    ids = texts()
    corrupted, target, noise = cut(ids)
    for row in range(len(ids)):
        whole = put_together(corrupted[row], target[row])
        length = (ids[row] != 0).sum()
        assert whole[:length] == ids[row, :length].tolist() and not any(whole[length:])
        assert not target[row, list(target[row]).index(3) + 1 :].any()
    assert not noise[np.isin(ids, SPECIAL)].any()


def test_so_many_tokens_in_so_many_spans():
    ids = texts()
    _, target, noise = cut(ids)
    free = (~np.isin(ids, SPECIAL)).sum(1)
    size = np.minimum(np.maximum(1, np.floor(0.3 * free + 0.5)), free - 1)
    np.testing.assert_array_equal(noise.sum(1), size)
    spans = np.minimum(np.maximum(1, np.floor(size / 3 + 0.5)), free - size)
    np.testing.assert_array_equal((target == 4).sum(1), spans)


def test_every_parting_is_equally_likely():
    ids = np.tile(np.r_[2, np.arange(10, 16), 3].astype("int32"), (4000, 1))
    _, _, noise = cut(
        ids, ratio=0.5, mean_length=1.5
    )  # 3 of 6 tokens in 2 spans, the rest in 2 pieces as well
    counts = collections.Counter(map(tuple, noise[:, 1:7].astype(int)))
    assert len(counts) == 4 and min(counts.values()) > 850


def test_rows_too_short_to_cut_stay():
    ids = np.array([[2, 3, 0], [2, 9, 3]], "int32")
    corrupted, target, noise = cut(ids)
    np.testing.assert_array_equal(corrupted, ids)
    assert not noise.any() and not target.any()


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="elsewhere all lengths are known beforehand"
)
def test_rows_whose_length_is_known_in_the_step_only():
    import tensorflow as tf

    ids = texts()
    seeds = [keras.random.SeedGenerator(0) for _ in range(2)]
    options = {"special_ids": SPECIAL, "mask_id": 4}

    @tf.function(input_signature=[tf.TensorSpec((None, None), "int32")])
    def both(x):
        spans = cut_spans(x, ratio=0.3, mean_length=3, end_id=3, seed=seeds[0], **options)
        return spans, hide_tokens(x, ratio=0.15, vocabulary_size=30, seed=seeds[1], **options)

    for length in (40, 17):
        spans, hidden = both(ids[:, :length])
        assert spans[0].shape == (64, length) and hidden[1].shape == (64, round(0.15 * length))
        assert (np.asarray(hidden[2]).sum(1) > 0).mean() > 0.9
    spans, _ = both(ids)
    assert put_together(spans[0].numpy()[0], spans[1].numpy()[0])
