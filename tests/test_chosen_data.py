"""The command line on a table, end to end: what was fitted on the training rows travels in the file."""

import argparse
import textwrap

import keras
import numpy as np
import pytest

from tftransfer import chosen_data, weights
from tftransfer.__main__ import main
from tftransfer.layers import preprocessing_of


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with a table in two files, and the results of `pretrain` and `finetune` on the first."""
    folder, draw = tmp_path_factory.mktemp("table"), np.random.default_rng(0)
    for name, rows in (("people", 96), ("people_test", 40)):
        group = draw.integers(0, 2, rows)
        ages = [
            f"{age:.1f}" if draw.random() < 0.9 else "?" for age in 30 + 20 * group + draw.normal(size=rows)
        ]
        jobs = np.array([["cook", "clerk"], ["judge", "clerk"]])[group, draw.integers(0, 2, rows)]
        lines = [f"{a},{j},{'high' if g else 'low'}" for a, j, g in zip(ages, jobs, group, strict=True)]
        (folder / f"{name}.csv").write_text("\n".join(["age,job,pay", *lines]))
    data = ["--data", str(folder / "people.csv"), "--label", "pay"]
    encoder, model = str(folder / "encoder.weights.h5"), str(folder / "model.keras")
    small = ["--objective", "scarf", "--backbone", "mlp(units=(8,))", "--epochs", "1", "--batch-size", "16"]
    assert main(["pretrain", *data, *small, "--out", encoder]) == 0
    policy = ["--labels", "10", "--policy", "linear_probe(epochs=1)", "--out", model]
    assert main(["finetune", encoder, *data, *policy]) == 0
    return folder


def python_in(out):
    lines = out.split("In Python:\n\n", 1)[1].splitlines()
    end = next((i for i, line in enumerate(lines) if line and not line.startswith("    ")), len(lines))
    return textwrap.dedent("\n".join(lines[:end]))


def test_the_preprocessing_travels(run):
    backbone = weights.load_backbone(run / "encoder.weights.h5")
    model = keras.models.load_model(run / "model.keras")
    assert preprocessing_of(backbone).names == ["age", "job"]  # not the label
    assert preprocessing_of(model).columns == preprocessing_of(backbone).columns


def test_evaluate_on_a_file_of_its_own_and_on_a_part(run, capsys):
    for source in (["people_test.csv"], ["people.csv", "--split", "test"]):
        data = ["--data", str(run / source[0]), "--label", "pay", *source[1:]]
        assert main(["evaluate", str(run / "model.keras"), *data]) == 0
        out = capsys.readouterr().out
        assert "accuracy" in out and "preprocessing_of(task).encode" in out and "high" in out


def test_the_printed_python_gives_the_same_weights(run, capsys, monkeypatch):
    monkeypatch.chdir(run)
    arguments = [
        "--data",
        "people.csv",
        "--label",
        "pay",
        "--epochs",
        "1",
        "--batch-size",
        "32",
        "--seed",
        "2",
    ]
    arguments += ["--objective", "vime", "--backbone", "mlp(units=(4,))", "--out", "a.weights.h5"]
    assert main(["pretrain", *arguments]) == 0
    code = python_in(capsys.readouterr().out)
    assert "tt.backbones.mlp(preprocessing, units=(4,))" in code
    exec(compile(code.replace("a.weights.h5", "b.weights.h5"), "printed", "exec"), {})
    first, second = (weights.load_backbone(f"{name}.weights.h5").get_weights() for name in "ab")
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_errors_are_a_line(run, capsys):
    table = ["--data", str(run / "people.csv")]
    pictures = str(run / "pictures.weights.h5")
    small = ["--objective", "autoencoder", "--backbone", "mlp(units=(4,))", "--epochs", "1"]
    assert main(["pretrain", "--data", "digits", *small, "--batch-size", "500", "--out", pictures]) == 0
    capsys.readouterr()
    out = ["--out", str(run / "x.keras")]
    for arguments, words in (
        (["pretrain", *table, "--out", str(run / "x.weights.h5")], "cnn takes input_shape"),
        (["pretrain", *table, "--label", "wage", "--out", str(run / "x.weights.h5")], "no column 'wage'"),
        (["finetune", pictures, *table, "--label", "pay", *out], "not pretrained on one"),
        (["finetune", str(run / "encoder.weights.h5"), *table, *out], "has no labels"),
    ):
        assert main(arguments) == 2
        assert words in capsys.readouterr().err


def test_other_data_are_left_as_they_are():
    options = argparse.Namespace(
        data="digits", split=None, image_size=None, label=None, data_dir=None, manual_dir=None
    )
    assert chosen_data.load_text(options, split="test") == "tt.data.load('digits', split='test')"
    examples = chosen_data.load(options, split="test")
    assert chosen_data.read_by(None, examples) is examples and chosen_data.read_by(None, None) is None
    shape, same, text, lines = chosen_data.read_by_new_backbone(examples)
    assert (shape, text, lines) == ((8, 8, 1), "(8, 8, 1)", []) and same is examples
