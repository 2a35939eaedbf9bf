"""Choosing tokens against the cut distribution; texts that end; beams against a search of everything."""

import itertools

import numpy as np
import pytest
from keras import ops

from tftransfer.layers import beam_search, choose_tokens, write_tokens

pytestmark = pytest.mark.compute

P = np.array([0.05, 0.4, 0.1, 0.3, 0.15])


def shares(**cut):
    """How often each token is chosen, over draws spread evenly."""
    n = 2000
    draws = ((np.arange(n) + 0.5) / n).astype("float32")
    logits = np.tile(np.log(P), (n, 1)).astype("float32")
    return np.bincount(np.asarray(choose_tokens(logits, draws, **cut)), minlength=5) / n


def cut(kept, p=P):
    q = np.where(np.isin(np.arange(5), kept), p, 0)
    return q / q.sum()


@pytest.mark.parametrize(
    "settings, expected",
    [
        ({}, P),
        ({"temperature": 0}, cut([1])),
        ({"temperature": 0.5}, P**2 / (P**2).sum()),
        ({"top_k": 2}, cut([1, 3])),
        ({"top_k": 9}, P),
        ({"top_p": 0.6}, cut([1, 3])),
        ({"top_p": 0.71}, cut([1, 3, 4])),
        ({"top_p": 0.01}, cut([1])),
        ({"top_p": 1.0}, P),
        ({"top_k": 3, "top_p": 0.7}, cut([1, 3])),  # 0.4 and 0.3 of 0.85 are 0.82 of what is left
    ],
    ids=str,
)
def test_choices_follow_the_cut_distribution(settings, expected):
    np.testing.assert_allclose(shares(**settings), expected, atol=2e-3)


def counting(tokens, place, cache):
    return 10.0 * ops.one_hot(tokens[:, 0] + 1, 12), cache


def greedy(logits, place):
    return ops.cast(ops.argmax(logits, axis=-1), "int32")


def test_texts_of_different_lengths_go_on_until_each_has_ended():
    ids = np.array([[3, 0, 0, 0, 0, 0], [7, 2, 3, 0, 0, 0], [5, 5, 0, 0, 0, 0]], "int32")
    written = write_tokens(counting, (), ids, np.array([1, 3, 2]), greedy, end_id=6)
    assert np.asarray(written).tolist() == [[3, 4, 5, 6, 0, 0], [7, 2, 3, 4, 5, 6], [5, 5, 6, 0, 0, 0]]
    short = write_tokens(counting, (), ids, np.array([1, 3, 2]), greedy, ends=np.array([3, 4, 2]), end_id=6)
    assert np.asarray(short).tolist() == [[3, 4, 5, 0, 0, 0], [7, 2, 3, 4, 0, 0], [5, 5, 0, 0, 0, 0]]
    endless = write_tokens(counting, (), ids, np.array([1, 3, 2]), greedy)
    assert np.asarray(endless)[0].tolist() == [3, 4, 5, 6, 7, 8]


def test_the_end_in_a_prompt_does_not_end_it():
    ids = np.array([[6, 3, 0, 0]], "int32")
    assert np.asarray(write_tokens(counting, (), ids, np.array([2]), greedy, end_id=6)).tolist() == [
        [6, 3, 4, 5]
    ]


VOCABULARY, END, LENGTH = 4, 3, 4
TABLE = np.random.default_rng(2).normal(size=(LENGTH, VOCABULARY, VOCABULARY)).astype("float32")
TABLE[..., 0] = -30.0  # padding is no word


def by_table(tokens, place, cache):
    """Logits that depend on the token before and the place; the cache counts them, to see that beams keep theirs."""
    count, last = cache
    return ops.take(ops.take(TABLE, place, axis=0), tokens[:, 0], axis=0), (
        count + 1,
        tokens[:, 0] + 0 * last,
    )


def search(beams, penalty, first=1):
    cache = (np.zeros(beams, "int32"), np.zeros(beams, "int32"))
    ids, scores = beam_search(
        by_table, cache, np.array([first]), beams=beams, length=LENGTH, end_id=END, length_penalty=penalty
    )
    return np.asarray(ids)[0].tolist(), float(scores[0])


def best_of_all(penalty, first=1):
    z = TABLE - np.log(np.exp(TABLE).sum(-1, keepdims=True))
    found = {}
    for text in itertools.product(range(1, VOCABULARY), repeat=LENGTH):
        ended = text.index(END) + 1 if END in text else LENGTH
        before, nats = first, 0.0
        for place, token in enumerate(text[:ended]):
            nats, before = nats + z[place, before, token], token
        found[(*text[:ended], *[0] * (LENGTH - ended))] = nats / ended**penalty
    best = max(found, key=found.get)
    return list(best), found[best]


@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("first", [1, 2])
def test_wide_beams_find_the_best_of_all_texts(penalty, first):
    ids, score = search(200, penalty, first)
    expected, its = best_of_all(penalty, first)
    assert ids == expected and score == pytest.approx(its, rel=1e-4)


def test_one_beam_is_greedy():
    text, before = [], 1
    for place in range(LENGTH):
        before = int(TABLE[place, before].argmax())
        text.append(before)
        if before == END:
            break
    assert search(1, 1.0)[0] == text + [0] * (LENGTH - len(text))
