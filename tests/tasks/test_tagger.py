"""Tags for words: the first token of each, long sentences, new tags, and what is refused."""

import keras
import numpy as np
import pytest

import tftransfer as tt
from tests.tasks.texts import LETTERS, tiny
from tftransfer import backbones
from tftransfer.tasks import Tagger

TAGS = ["O", "B-x", "I-x"]


def make(tags=TAGS, **settings):
    return Tagger(tiny("bert"), tags, **settings)


def test_labels_stand_at_the_first_token_of_each_word():
    ids, labels = make().encode([["abc", "d", "ef"], ["g"]], [["B-x", "I-x", "O"], ["O"]])
    assert np.asarray(ids)[:, :8].tolist() == [[2, 5, 18, 19, 8, 9, 22, 3], [2, 11, 3, 0, 0, 0, 0, 0]]
    assert np.asarray(labels)[:, :8].tolist() == [[-1, 1, -1, -1, 2, 0, -1, -1], [-1, 0, *[-1] * 6]]
    numbers = make().encode([["a", "b"]], [[1, 2]])[1]
    assert np.asarray(numbers)[0, :3].tolist() == [-1, 1, 2]


def test_loss_is_that_of_the_labelled_tokens():
    task = make()
    ids, labels = task.encode([["abc", "d"], ["g"]], [["B-x", "O"], ["O"]])
    z = np.asarray(task(np.asarray(ids)), "float64")
    z = z - np.log(np.exp(z).sum(-1, keepdims=True))
    by_hand = -np.mean([z[0, 1, 1], z[0, 4, 0], z[1, 1, 0]])
    assert float(task.default_loss()(np.asarray(labels), task(np.asarray(ids)))) == pytest.approx(
        by_hand, rel=1e-5
    )


def sentences(n=32):
    """Vowels are names, and a vowel that follows a vowel goes on with it."""
    draw = np.random.default_rng(0)
    rows = [[LETTERS[i] for i in draw.integers(0, 12, draw.integers(2, 7))] for _ in range(n)]
    tags = []
    for row in rows:
        vowels = [letter in "aei" for letter in row]
        before = [False, *vowels[:-1]]
        tags.append(["O" if not v else "I-x" if b else "B-x" for v, b in zip(vowels, before, strict=True)])
    return rows, tags


def test_it_learns_and_is_judged_by_entities():
    keras.utils.set_random_seed(0)
    rows, tags = sentences()
    task = Tagger(tiny("bert"))
    policy = tt.policies.full(25, learning_rate=0.01)
    history = tt.finetune(task, (rows, tags), policy=policy, batch_size=16, verbose=0).history
    assert task.tags == TAGS and history["accuracy"][-1] > 0.95
    assert task.tag(rows[:4]) == tags[:4]
    report = tt.evaluate(task, (rows, tags), verbose=0)
    assert report.metrics["f1"] > 0.8 and report.per_type[0]["type"] == "x"


def test_sentences_longer_than_a_row_are_tagged_in_parts():
    task = make()
    long = ["abc", "d"] * 9  # 36 tokens, rows of 12
    (tags,) = task.tag([long])
    assert len(tags) == 18
    assert task.tag([long[:5], [], ["a"]])[1] == []
    with pytest.warns(UserWarning, match="13 words stand beyond"):
        task.encode([long], [["O"] * 18])


def test_new_tags_and_files(tmp_path):
    task = make()
    task.save(tmp_path / "task.keras")
    again = keras.models.load_model(tmp_path / "task.keras")
    assert again.tags == TAGS and again.tag([["a", "b"]]) == task.tag([["a", "b"]])
    assert task.swap_head(["O", "B-y"]).head.units == 2 and task.tags == ["O", "B-y"]
    assert Tagger(tiny("bert"), 4).tags == ["0", "1", "2", "3"]


def test_frozen_features_are_computed_once_for_tokens_too():
    rows, tags = sentences(16)
    task = make()
    history = tt.finetune(
        task, (rows, tags), policy=tt.policies.linear_probe(2), batch_size=8, verbose=0
    ).history
    assert np.isfinite(history["loss"]).all()


def test_bad_input():
    task = make()
    for words, tags, says in (
        ([["a", "b"], ["c"]], [["O", "O"], ["O", "O"]], "sentence 1 has 1 words and 2 tags"),
        ([["a"]], [["O"], ["O"]], "1 and 2 lists"),
        ([["a"]], [["B-new"]], "swap_head"),
        (["a text"], [["O", "O"]], r"text\.split"),
        ([], [], "nothing"),
    ):
        with pytest.raises(ValueError, match=says):
            task.encode(words, tags)
    with pytest.raises(ValueError, match="no head"):
        Tagger(tiny("bert")).tag([["a"]])
    with pytest.raises(ValueError, match="different names"):
        make(["O", "O"])
    with pytest.raises(ValueError, match="features of tokens"):
        Tagger(backbones.mlp((4,), units=(3,)), TAGS)
    bare = Tagger(backbones.bert((8,), vocabulary_size=9, width=8, depth=1, num_heads=1), TAGS)
    with pytest.raises(ValueError, match="without a tokenizer"):
        bare.tag([["a"]])
