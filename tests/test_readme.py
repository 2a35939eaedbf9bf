"""README's Python runs, for fewer epochs and draws; its tables name what there is."""

import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest

import tftransfer as tt

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.slow
def test_the_code_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    *blocks, tables, texts, launched = re.findall(
        r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    assert len(blocks) == 2
    names = {}
    for block in blocks:
        for much, few in (("epochs=100", "epochs=20"), ("(1, 5), draws=3", "(5,), draws=2")):
            block = block.replace(much, few)
        exec(compile(block, "README.md", "exec"), names)
    assert names["report"].metrics["accuracy"] > 0.7
    assert "pretraining" in names["comparison"].verdict
    assert (tmp_path / "run" / "classifier.keras").exists()
    assert "100.0% of parameters" in capsys.readouterr().out

    rows = [
        f"{20 + i % 53 if i % 9 else ''},job {i % 7},{i * i % 31},{('low', 'high')[i % 2]}"
        for i in range(120)
    ]
    (tmp_path / "people.csv").write_text("\n".join(["age,work,hours,income", *rows]))
    exec(tables.replace("epochs=100", "epochs=1, batch_size=16").replace("(10)", "(1)"), names)

    said = [("where is my card", "card"), ("what did I pay", "payment"), ("close my account", "account")]
    (tmp_path / "corpus.txt").write_text("\n".join(f"{text} {i}" for i in range(12) for text, _ in said))
    rows = [f"{text} {i},{label}" for i in range(6) for text, label in said]
    (tmp_path / "intents.csv").write_text("\n".join(["text,intent", *rows]))
    small = {"epochs=10": "epochs=1, batch_size=12", "width=256, depth=4": "width=16, depth=1", "=128": "=16"}
    for much, few in small.items():
        texts = texts.replace(much, few)
    exec(texts.replace("(task, intents)", "(task, intents, policy=tt.policies.linear_probe(1))"), names)
    assert names["task"].predict(["where is my card?"]).shape == (1, 3)

    names["pictures"] = lambda: np.random.default_rng(0).random((8, 32, 32, 3), "float32")
    monkeypatch.setattr(tt.placement, "launch", lambda train, workers: train())  # itself: test_launch.py
    exec(launched.replace("epochs=100", "epochs=1, batch_size=8").replace("resnet18", "cnn"), names)
    assert (tmp_path / "run" / "encoder.weights.h5").exists()


@pytest.mark.parametrize("module", ["backbones", "objectives", "policies", "tasks"])
def test_the_table_names_every_member(module):
    text = README.read_text(encoding="utf-8")
    bases = {"Context", "Objective", "Task", "Policy", "Stage"}
    missing = [name for name in getattr(tt, module).__all__ if name not in bases and f"`{name}`" not in text]
    assert not missing, f"README's table lacks {missing}"


def test_the_two_commands_stand_each_on_a_line_of_its_own():
    lines = README.read_text(encoding="utf-8").splitlines()
    assert 'python -m pip install -e ".[cpu]" && tftransfer demo' in lines
    assert 'python -m pip install -e ".[cpu,test]" && pytest' in lines
