"""Pictures: every kind of report draws, saves whole or not at all, and leaves pyplot alone."""

import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from tftransfer.evaluation import Comparison, RegressionReport, Report, Row


def reports():
    random = np.random.default_rng(0)
    labels = random.integers(0, 40, 200)
    yield Report(
        labels % 3, np.eye(3)[(labels + (labels > 30)) % 3], class_names=["$a", "b_^", "a long class name"]
    )
    yield Report(labels % 2, random.random(200))
    yield Report(labels, random.dirichlet(np.ones(40), 200))
    yield Report(labels[:, None] % [2, 3] == 0, random.random((200, 2)), multi_label=True)
    yield RegressionReport(random.normal(size=(50, 2)), random.normal(size=(50, 2)))
    rows = [
        Row(n, arm, [0.5 + s, 0.6 + s], [0.5, 0.6], [1, 1], 9)
        for n in (1, 5)
        for arm, s in [("pretrained", 0), ("scratch", 0.1)]
    ]
    yield Comparison(rows)
    yield Comparison([Row(1, arm, [0.5], [0.5], [1.0], 9) for arm in ("pretrained", "scratch")])


@pytest.mark.parametrize("number", range(7))
def test_each_draws_and_saves(number, tmp_path):
    report = list(reports())[number]
    path = tmp_path / "new" / "picture.png"
    assert isinstance(report.plot(path), Figure)
    assert path.read_bytes().startswith(b"\x89PNG") and [p.name for p in path.parent.iterdir()] == [
        "picture.png"
    ]
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def test_other_formats(tmp_path):
    report = next(reports())
    report.plot(tmp_path / "a.svg")
    report.plot(str(tmp_path / "a.pdf"))
    assert b"<svg" in (tmp_path / "a.svg").read_bytes() and (tmp_path / "a.pdf").read_bytes().startswith(
        b"%PDF"
    )


def test_unknown_ending_and_unwritable_place_leave_old_files(tmp_path):
    report, old = next(reports()), tmp_path / "old.png"
    old.write_text("old")
    with pytest.raises(ValueError, match="must end in"):
        report.plot(tmp_path / "picture.mp3")
    with pytest.raises(OSError):
        report.plot(old / "below_a_file.png")
    with pytest.raises(OSError):
        report.to_json(old / "below_a_file.json")
    assert old.read_text() == "old" and len(list(tmp_path.iterdir())) == 1
