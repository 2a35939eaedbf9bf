"""The command line, end to end at small size, in this process."""

import json
import resource
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

from tftransfer import weights
from tftransfer.__main__ import main

SUBCOMMANDS = ["pretrain", "finetune", "evaluate", "inspect", "demo"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with the results of `pretrain` and `finetune` on the digits."""
    folder = tmp_path_factory.mktemp("run")
    encoder, model = str(folder / "encoder.weights.h5"), str(folder / "classifier.keras")
    small = ["--objective", "autoencoder(noise=0.1)", "--backbone", "cnn(filters=(4, 8))", "--epochs", "1"]
    assert main(["pretrain", "--data", "digits", *small, "--out", encoder]) == 0
    policy = "linear_probe(epochs=1)+full(epochs=1)"
    assert (
        main(["finetune", encoder, "--data", "digits", "--labels", "5", "--policy", policy, "--out", model])
        == 0
    )
    return folder


def python_in(out):
    """The code that was printed under "In Python:"."""
    block = out.split("In Python:\n\n", 1)[1]
    lines = []
    for line in block.splitlines():
        if line and not line.startswith("    "):
            break
        lines.append(line)
    return textwrap.dedent("\n".join(lines))


def test_pretrain_writes_a_file_that_says_what_it_is(run, capsys):
    description = weights.describe(run / "encoder.weights.h5")
    assert description.objective["name"] == "Autoencoder" and description.objective["config"]["noise"] == 0.1
    assert len(description.history["loss"]) == 1 and description.preprocessing["input_shape"] == [8, 8, 1]
    assert main(["inspect", str(run / "encoder.weights.h5")]) == 0
    out = capsys.readouterr().out
    for word in ("cnn", "Autoencoder", "block_00_conv", "keras"):
        assert word in out


def test_pictures(tmp_path, capsys):
    arguments = [
        "--data",
        "digits",
        "--objective",
        "variational_autoencoder",
        "--backbone",
        "mlp(units=(4,))",
    ]
    arguments += ["--epochs", "1", "--batch-size", "500", "--out", str(tmp_path / "a.weights.h5")]
    assert main(["pretrain", *arguments, "--pictures", str(tmp_path / "pictures")]) == 0
    out = capsys.readouterr().out
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == ["embeddings.png", "history.png", "reconstructions.png", "samples.png"]
    assert all(name in out for name in names)
    compile(python_in(out), "printed", "exec")
    assert "tt.evaluation.gallery(objective, examples, " in out


def test_finetune_writes_a_model(run):
    model = keras.models.load_model(run / "classifier.keras")
    assert model.num_classes == 10 and model(np.zeros((2, 8, 8, 1))).shape == (2, 10)
    assert sorted(p.name for p in run.iterdir()) == ["classifier.keras", "encoder.weights.h5"]


def test_evaluate_takes_the_test_part(run, tmp_path, capsys):
    figures, picture = tmp_path / "report.json", tmp_path / "report.png"
    arguments = ["--data", "digits", "--json", str(figures), "--plot", str(picture)]
    assert main(["evaluate", str(run / "classifier.keras"), *arguments]) == 0
    out = capsys.readouterr().out
    assert "split='test'" in out and "accuracy" in out
    content = json.loads(figures.read_text())
    assert "540" in json.dumps(content) and picture.stat().st_size > 1000


def test_the_printed_python_gives_the_same_weights(run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = [
        "--objective",
        "Autoencoder",
        "--backbone",
        "mlp(units=(4,))",
        "--epochs",
        "1",
        "--batch-size",
        "500",
    ]
    assert main(["pretrain", "--data", "digits", *small, "--seed", "3", "--out", "a.weights.h5"]) == 0
    code = python_in(capsys.readouterr().out)
    assert "tt.backbones.mlp((8, 8, 1), units=(4,))" in code and "seed=3" in code
    exec(compile(code.replace("a.weights.h5", "b.weights.h5"), "printed", "exec"), {})
    first, second = (weights.load_backbone(f"{name}.weights.h5").get_weights() for name in "ab")
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_every_printed_python_is_python(run, tmp_path, capsys):
    capsys.readouterr()
    model = str(tmp_path / "all.keras")
    arguments = [
        "--data",
        "digits",
        "--policy",
        "linear_probe(epochs=1)",
        "--out",
        model,
        "--batch-size",
        "512",
    ]
    assert main(["finetune", str(run / "encoder.weights.h5"), *arguments]) == 0
    code = python_in(capsys.readouterr().out)
    compile(code, "printed", "exec")
    assert "validation_data=validation" in code and "tt.policies.linear_probe(epochs=1)" in code
    assert main(["evaluate", model, "--data", "digits"]) == 0
    compile(python_in(capsys.readouterr().out), "printed", "exec")


def test_resume(tmp_path, capsys):
    arguments = [
        "--data",
        "digits",
        "--objective",
        "autoencoder",
        "--backbone",
        "mlp(units=(4,))",
        "--epochs",
        "1",
    ]
    arguments += ["--out", str(tmp_path / "a.weights.h5"), "--batch-size", "500", "--resume"]
    assert main(["pretrain", *arguments]) == 0
    out = capsys.readouterr().out
    assert "Nothing to resume" in out and "resume=True" in out


def test_other_sources(tmp_path):
    x, y = np.random.default_rng(0).integers(0, 255, (24, 8, 8, 1), dtype="uint8"), np.arange(24) % 2
    np.savez(tmp_path / "own.npz", x=x, y=y, x_test=x[:8], y_test=y[:8])
    source = ["--data", str(tmp_path / "own.npz")]
    encoder, model = str(tmp_path / "a.weights.h5"), str(tmp_path / "a.keras")
    small = [
        "--objective",
        "autoencoder",
        "--backbone",
        "mlp(units=(4,))",
        "--epochs",
        "1",
        "--batch-size",
        "8",
    ]
    assert main(["pretrain", *source, *small, "--strategy", "cpu", "--out", encoder]) == 0
    assert (
        main(
            [
                "finetune",
                encoder,
                *source,
                "--labels",
                "4",
                "--policy",
                "linear_probe(epochs=1)",
                "--out",
                model,
            ]
        )
        == 0
    )
    assert main(["evaluate", model, *source]) == 0


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["pretrain", "--data", "digits", "--backbone", "cn", "--out", "a.weights.h5"], "There is no 'cn'"),
        (
            ["pretrain", "--data", "digits", "--objective", "simclr(temp=1)", "--out", "a.weights.h5"],
            "no argument temp",
        ),
        (
            ["pretrain", "--data", "digits", "--backbone", "cnn(filters=3)", "--out", "a.weights.h5"],
            "filters",
        ),
        (["pretrain", "--data", "none/such", "--out", "a.weights.h5"], "none/such"),
        (["pretrain", "--data", "digits", "--strategy", "moon", "--out", "a.weights.h5"], "Unknown strategy"),
        (["pretrain", "--data", "digits", "--epochs", "0", "--out", "a.weights.h5"], "epochs"),
        (["pretrain", "--data", "digits", "--out", "a.h5"], ".weights.h5"),
        (["finetune", "none.weights.h5", "--data", "digits", "--out", "a.keras"], "none.weights.h5"),
        (["finetune", "none.weights.h5", "--data", "digits", "--out", "a.h5"], ".keras"),
        (["finetune", "x", "--data", "digits", "--policy", "full+", "--out", "a.keras"], "not understood"),
        (["finetune", "x", "--data", "digits", "--labels", "0", "--out", "a.keras"], "labels_per_class"),
        (["finetune", "x", "--data", "digits", "--labels", "9999", "--out", "a.keras"], "9999"),
        (["evaluate", "none.keras", "--data", "digits"], "none.keras"),
        (["inspect", "none.weights.h5"], "none.weights.h5"),
        (["demo", "--data", "digits", "--backbone", "cn"], "There is no 'cn'"),
    ],
)
def test_errors_are_a_line_and_status_2(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"tftransfer {arguments[0]}: ") and words in error
    assert "Traceback" not in error
    assert not list(tmp_path.rglob("*.h5")) and not list(tmp_path.rglob("*.keras"))


@pytest.mark.parametrize("arguments", [[], ["pretrian"], ["pretrain"], ["demo", "--labels", "x"]], ids=str)
def test_usage_errors_end_the_process_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: tftransfer" in capsys.readouterr().err


@pytest.mark.parametrize("command", SUBCOMMANDS)
def test_every_option_is_explained(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert f"usage: tftransfer {command}" in out
    assert "==SUPPRESS==" not in out


def test_help_answers_fast_and_without_tensorflow():
    code = """
        import sys
        from tftransfer.__main__ import main
        try:
            main(["pretrain", "--help"])
        except SystemExit:
            slow = {"tensorflow", "jax", "keras", "numpy", "sklearn", "matplotlib", "h5py"} & set(sys.modules)
            print("imported:", sorted(slow))
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stdout.splitlines()[-1] == "imported: []", done.stderr
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2  # seconds of processor
