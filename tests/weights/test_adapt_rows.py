import keras
import numpy as np
import pytest
from keras import layers

from tftransfer.weights import head_rows, token_embeddings, transfer_weights


def classifier(classes):
    parts = layers.Dense(3, name="first"), layers.Dense(classes, name="head")
    return keras.Sequential([keras.Input((4,)), *parts])


def test_persisting_classes_keep_their_columns():
    old, new = classifier(3), classifier(4)
    fresh = new.get_weights()
    classes = ["cat", "dog", "eel"], ["ant", "eel", "cat", "fox"]
    receipt = transfer_weights(old, new, adapt=[head_rows(*classes)])
    assert receipt.verify().counts["adapted"] == 2
    assert receipt.of("adapted")[0].note == "2 of 4 classes kept"
    (*_, kernel, bias), (*_, old_kernel, old_bias) = new.get_weights(), old.get_weights()
    np.testing.assert_array_equal(kernel[:, [1, 2]], old_kernel[:, [2, 0]])
    np.testing.assert_array_equal(bias[[1, 2]], old_bias[[2, 0]])
    np.testing.assert_array_equal(kernel[:, [0, 3]], fresh[2][:, [0, 3]])


def test_as_many_classes_in_another_order():
    old, new = classifier(2), classifier(2)
    transfer_weights(old, new, adapt=[head_rows(["a", "b"], ["b", "a"])])
    np.testing.assert_array_equal(new.get_weights()[2], old.get_weights()[2][:, ::-1])
    assert transfer_weights(old, new, adapt=[head_rows(["a", "b"], ["a", "b"])]).counts["adapted"] == 0


def test_other_layers_are_not_heads():
    with pytest.raises(ValueError, match="head/kernel"):
        transfer_weights(classifier(3), classifier(4), adapt=[head_rows("abc", "abcd", pattern="tail")])


def test_wrong_lists():
    with pytest.raises(ValueError, match="names some twice: a"):
        head_rows(["a", "a"], ["a"])
    with pytest.raises(ValueError, match="none in common"):
        head_rows(["a"], ["b"])
    with pytest.raises(ValueError, match="head/kernel"):  # lists that are not as long as the heads are wide
        transfer_weights(classifier(3), classifier(4), adapt=[head_rows(["a", "b"], ["a", "c"])])


def test_tokens_keep_their_rows():
    old, new = (keras.Sequential([keras.Input((5,)), layers.Embedding(n, 4, name="tokens")]) for n in (3, 4))
    fresh = new.get_weights()[0]
    receipt = transfer_weights(
        old, new, adapt=[token_embeddings(["[UNK]", "the", "cat"], ["[UNK]", "a", "cat", "the"])]
    )
    table, before = new.get_weights()[0], old.get_weights()[0]
    np.testing.assert_array_equal(table[[0, 2, 3]], before[[0, 2, 1]])
    np.testing.assert_array_equal(table[1], fresh[1])
    assert receipt.verify().of("adapted")[0].note == "3 of 4 tokens kept"
