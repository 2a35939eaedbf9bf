"""One call for every source."""

import numpy as np
import pytest
from PIL import Image

from tftransfer.data import load


def test_digits():
    assert load("digits", split="test", image_size=32).x.shape == (540, 32, 32, 1)
    assert load("digits").name == "digits/train"


def test_unknown_sources_say_what_to_give(tmp_path):
    (tmp_path / "letter.doc").write_text("a,b")
    with pytest.raises(ValueError, match="kind that is not read"):
        load(tmp_path / "letter.doc")
    with pytest.raises(ValueError, match="is for a table"):
        load("digits", label="digit")
    for missing in (tmp_path / "nowhere", str(tmp_path / "nowhere"), "./nowhere"):
        with pytest.raises(FileNotFoundError, match="no file or folder"):
            load(missing)
    with pytest.raises(ValueError, match=r"Arrays and tf.data.Datasets need no loading"):
        load(np.zeros(3))


def test_a_table(tmp_path):
    (tmp_path / "t.csv").write_text("age,job,pay\n3,cook,low\n,clerk,high\n")
    examples = load(tmp_path / "t.csv", label="pay")
    assert examples.class_names == ["high", "low"] and examples.y.tolist() == [1, 0]
    assert list(examples.x) == ["age", "job"]


def test_a_folder_goes_before_a_name(tmp_path, monkeypatch):
    (tmp_path / "mnist").mkdir()
    Image.new("L", (3, 3)).save(tmp_path / "mnist" / "a.png")
    monkeypatch.chdir(tmp_path)
    assert load("mnist").x.shape == (1, 3, 3, 1)
