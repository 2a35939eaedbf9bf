"""Learning curves: every figure of a history appears once, in a panel of its kind."""

import types

import keras
import pytest

from tftransfer.evaluation import history_figure


def drawn(figure):
    """Title → labels of the curves, without the lines that mark stages and epochs."""
    return {
        axes.get_title(): [line.get_label() for line in axes.lines if len(set(line.get_xdata())) > 1]
        for axes in figure.axes
    }


def test_panels_by_kind():
    history = keras.callbacks.History()
    history.history = {
        "accuracy": [0.1, 0.5],
        "loss": [2.0, 1.0],
        "val_accuracy": [0.1, float("nan")],
        "val_loss": [2.0, 1.5],
        "learning_rate": [0.1, 0.01],
        "mean_error": [7.0, 3.0],
    }
    assert drawn(history_figure(history)) == {
        "loss": ["loss", "val loss"],
        "accuracy": ["accuracy", "val accuracy"],
        "learning rate": ["learning rate"],
        "mean error": ["mean error"],
    }


def test_validation_is_dashed_in_the_same_colour():
    (axes,) = history_figure({"loss": [2, 1], "val_loss": [2, 2]}).axes
    training, validation = axes.lines
    assert training.get_color() == validation.get_color()
    assert (training.get_linestyle(), validation.get_linestyle()) == ("-", "--")
    assert list(training.get_xdata()) == [1, 2] and list(training.get_ydata()) == [2, 1]


def test_stages_and_the_kept_epoch():
    history = types.SimpleNamespace(
        history={"loss": [3.0, 2.0, 1.0, 0.5]},
        stages=[{"name": "linear_probe", "epochs": 3}, {"name": "full", "epochs": 1}],
        best_epoch=2,
    )
    (axes,) = history_figure(history).axes
    assert [text.get_text().strip() for text in axes.texts] == ["linear_probe", "full"]
    assert axes.lines[1].get_xdata()[0] == 3.5
    assert axes.get_legend_handles_labels()[1] == ["loss", "kept: epoch 3"]


def test_one_epoch_is_visible_and_saved(tmp_path):
    figure = history_figure({"loss": [1.0]}, path=tmp_path / "curve.svg")
    assert figure.axes[0].lines[0].get_marker() == "o"
    assert b"<svg" in (tmp_path / "curve.svg").read_bytes()


@pytest.mark.parametrize("history", [{}, {"loss": []}, None])
def test_nothing_to_draw(history):
    with pytest.raises(ValueError, match="no curves"):
        history_figure(history)
