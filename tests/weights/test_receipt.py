import keras
import pytest
from keras import layers

from tftransfer.weights import transfer_weights


def model(*names):
    return keras.Sequential([keras.Input((4,)), *(layers.Dense(4, name=name) for name in names)], name="net")


@pytest.fixture
def receipt():
    return transfer_weights(
        model("a", "b", "old"),
        model("a", "c", "new"),
        mapping={"^b/": "c/"},
        allow_missing="new",
        allow_unused="old",
    )


def test_figures(receipt):
    assert receipt.counts == {"loaded": 2, "renamed": 2, "adapted": 0, "random": 2, "unused": 2}
    assert receipt.parameters == {"loaded": 20, "renamed": 20, "adapted": 0, "random": 20, "unused": 20}
    assert receipt.percent_loaded == pytest.approx(200 / 3)
    assert (
        receipt.summary
        == "the model 'net' → 'net': 2 loaded, 2 renamed, 2 random, 2 unused; 66.7% of parameters"
    )


def test_it_prints_as_a_table(receipt):
    text = str(receipt)
    assert "renamed          2          20  found under another name" in text
    assert "c/kernel  ← b/kernel  (4, 4)" in text
    assert "random:\n  new/kernel" in text and "unused:\n  old/kernel" in text


def test_long_lists_are_cut():
    long = transfer_weights(model("a", *(f"x{i}" for i in range(8))), model("a"), allow_unused="x")
    assert "... and 6 more" in str(long)


def test_it_renders_in_a_notebook(receipt):
    html = receipt._repr_html_()
    assert html.count("<tr>") == 1 + 4 + 8 and "found under another name" in html


def test_verify_sees_a_change():
    target = model("a")
    receipt = transfer_weights(model("a"), target)
    assert receipt.verify() is receipt
    target.layers[0].kernel.assign(target.layers[0].kernel + 1)
    with pytest.raises(ValueError, match=r"1 variables of 'net' do not hold.*a/kernel"):
        receipt.verify()


def test_assert_loaded(receipt):
    with pytest.raises(ValueError, match=r"2 variables of 'net' were not loaded: new/kernel, new/bias"):
        receipt.assert_loaded()
    complete = transfer_weights(model("a"), model("a"))
    assert complete.assert_loaded() is complete
