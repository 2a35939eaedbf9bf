"""Figures show themselves in a notebook that knows nothing of matplotlib, and travel as matplotlib's do."""

import pickle

from tftransfer.evaluation import history_figure


def test_shows_itself_as_a_picture():
    assert history_figure({"loss": [2, 1]})._repr_png_().startswith(b"\x89PNG")


def test_can_be_pickled():
    copy = pickle.loads(pickle.dumps(history_figure({"loss": [2, 1]})))
    assert copy.axes[0].get_title() == "loss"
