"""Two texts as one row: how they are read, what they teach, and what is refused."""

import keras
import numpy as np
import pytest

import tftransfer as tt
from tests.tasks.texts import LETTERS, tiny
from tftransfer import backbones
from tftransfer.tasks import PairClassifier


def test_a_pair_is_one_row():
    ids, labels = PairClassifier(tiny("bert"), 2).encode([("a b", "c"), ("d", "")], [0, 1])
    assert np.asarray(ids)[:, :7].tolist() == [[2, 5, 6, 3, 7, 3, 0], [2, 8, 3, 3, 0, 0, 0]] and labels == [
        0,
        1,
    ]


def test_the_order_of_the_two_counts():
    task = PairClassifier(tiny("bert"), 2)
    a, b = (np.asarray(task(np.asarray(task.encode([pair])[0]))) for pair in (("a b", "c"), ("c", "a b")))
    assert np.abs(a - b).max() > 1e-4


def test_it_learns_whether_two_letters_are_the_same():
    keras.utils.set_random_seed(0)
    pairs = [(a, b) for a in LETTERS[:6] for b in LETTERS[:6]] + [(a, a) for a in LETTERS[:6]] * 4
    labels = [int(a == b) for a, b in pairs]
    task = PairClassifier(tiny("transformer_text", width=32), num_classes=2)
    policy = tt.policies.full(40, learning_rate=0.003)
    history = tt.finetune(task, (pairs, labels), policy=policy, batch_size=30, verbose=0).history
    assert history["accuracy"][-1] > 0.85
    assert tt.evaluate(task, (pairs, labels), verbose=0).metrics["accuracy"] > 0.85
    assert task.predict(pairs[:3], verbose=0).shape == (3, 2)


def test_config(tmp_path):
    task = PairClassifier(tiny("bert"), 3, pooling="first")
    task.save(tmp_path / "task.keras")
    again = keras.models.load_model(tmp_path / "task.keras")
    assert again.pooling == "first" and again.num_classes == 3


def test_bad_input():
    task = PairClassifier(tiny("bert"), 2)
    for pairs, words in ((["a", "b"], "place 0"), ([("a", "b"), ("c",)], "place 1"), ([], "nothing")):
        with pytest.raises(ValueError, match=words):
            task.encode(pairs)
    with pytest.raises(ValueError, match="reads the ids of texts"):
        PairClassifier(backbones.mlp((4,), units=(3,)), 2)
    bare = PairClassifier(backbones.bert((8,), vocabulary_size=9, width=8, depth=1, num_heads=1), 2)
    with pytest.raises(ValueError, match="without a tokenizer"):
        bare.encode([("a", "b")])
