"""Results as JSON."""

import json
from pathlib import Path

import numpy as np

from tftransfer.evaluation import Report
from tftransfer.evaluation.saving import plain


def test_plain_turns_numpy_into_json():
    value = {
        1: np.float32(0.5),
        "a": (np.int64(3), np.nan, float("inf")),
        "b": np.array([[True]]),
        "c": Path("x"),
    }
    assert json.loads(json.dumps(plain(value))) == {"1": 0.5, "a": [3, None, None], "b": [[True]], "c": "x"}


def test_to_json_writes_what_it_returns(tmp_path):
    path = tmp_path / "deep" / "report.json"
    text = Report([0, 1], [0.1, 0.9], class_names=["ja", "ñandú"]).to_json(path)
    assert json.loads(path.read_text(encoding="utf-8")) == json.loads(text)
    assert "ñandú" in text and [p.name for p in path.parent.iterdir()] == ["report.json"]
