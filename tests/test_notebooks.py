"""Every notebook runs from top to bottom at small size, and none tells where it was written."""

import os
import re
from pathlib import Path

import nbformat
import pytest

import tftransfer

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# Absolute paths of a machine: home and temporary folders, site-packages, drives.
LOCAL = re.compile(
    r"(?<![\w.:/])/(home|root|Users|tmp|work|usr|opt|var|mnt|private|content)/|[\\/]site-packages|[A-Z]:\\\\"
)
MOST_BYTES = 1_000_000

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.slow
@each_notebook
def test_runs_at_small_size(path, tmp_path, monkeypatch):
    from ipykernel.kernelspec import write_kernel_spec
    from nbclient import NotebookClient

    # A kernel of the interpreter that runs this test, whatever kernels the user has installed, ...
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.parent.mkdir(parents=True)
    write_kernel_spec(str(kernel))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    # ... which sees the tftransfer that is tested, and leaves nothing in the user's home.
    source = str(Path(tftransfer.__file__).resolve().parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")])))
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("TFTRANSFER_QUICK", "1")
    work = tmp_path / "work"
    work.mkdir()

    notebook = nbformat.read(path, as_version=4)
    options = {"timeout": 300, "resources": {"metadata": {"path": str(work)}}}
    NotebookClient(notebook, kernel_name="python3", **options).execute()  # an error in a cell is raised

    shown = [output.data for cell in notebook.cells for output in cell.get("outputs", ()) if "data" in output]
    figures = [data for data in shown if "Figure" in data.get("text/plain", "")]
    assert figures and all("image/png" in data for data in figures)


@each_notebook
def test_is_executed_small_and_tells_no_local_path(path):
    assert path.stat().st_size < MOST_BYTES
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in notebook.cells:
        texts = [cell.source]
        for output in cell.get("outputs", ()):
            assert output.output_type != "error" and output.get("name") != "stderr", output
            data = output.get("data", {})
            texts += [output.get("text", ""), *(data[kind] for kind in data if kind.startswith("text/"))]
        for text in texts:
            found = LOCAL.search(text)
            assert found is None, (
                f"{path.name} names a local path: {text[found.start() : found.start() + 80]!r}"
            )
