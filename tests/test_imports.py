"""The house: which folder may import which, how long files are, what every public name says of itself."""

import ast
import dataclasses
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import tftransfer

ROOT = Path(tftransfer.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
IDS = [str(path.relative_to(ROOT)) for path in FILES]
FOLDERS = {
    "layers",
    "backbones",
    "objectives",
    "tasks",
    "policies",
    "weights",
    "placement",
    "data",
    "evaluation",
}

# What a folder may import from the package besides itself; the modules on top may import everything.
ALLOWED = {
    "placement": set(),
    "layers": {"placement"},
    "backbones": {"layers", "placement"},
    "objectives": {"layers", "placement"},
    "tasks": {"layers", "placement", "weights"},
    "weights": {"placement", "backbones", "layers"},  # to build what a folder of Hugging Face describes
    "data": {"layers", "placement"},
    "policies": {"layers", "placement", "weights", "optimizers"},
}
# Folders whose members know nothing of each other, and what each of them may still take from beside it.
APART = {
    "objectives": {"objective", "joint_embedding", "adversarial", "language_model"},
    "tasks": {"task", "classifier"},
    "policies": {"policy"},
    "backbones": {"shapes", "residual", "text_stages"},
}


def imports(path):
    """Dotted names that a file imports, at any depth of its code: `tftransfer.layers.config.register`, …"""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def folder_of(path):
    parts = path.relative_to(ROOT).parts
    return parts[0] if len(parts) > 1 else None


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_imports_run_one_way(path):
    folder = folder_of(path)
    if folder not in ALLOWED:
        return
    own = [name.split(".")[1] for name in imports(path) if name.startswith("tftransfer.")]
    wrong = set(own) - ALLOWED[folder] - {folder}
    assert not wrong, f"{folder}/ must not import {sorted(wrong)}"


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_members_know_nothing_of_each_other(path):
    folder = folder_of(path)
    if folder not in APART or path.name == "__init__.py":
        return
    beside = {p.stem for p in path.parent.glob("*.py")}
    named = [name.split(".") for name in imports(path) if name.startswith(f"tftransfer.{folder}.")]
    wrong = {parts[2] for parts in named} & beside - APART[folder]
    through_init = {parts[2] for parts in named} - beside
    assert not wrong and not through_init, f"imports {sorted(wrong | through_init)} from beside it"


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_tensorflow_stays_in_its_places(path):
    if folder_of(path) not in ("data", "placement"):
        assert not [
            name for name in imports(path) if name.split(".")[0] in ("tensorflow", "tensorflow_datasets")
        ]


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_files_are_short_and_say_what_they_are(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    assert ast.get_docstring(ast.parse(text)), "no docstring at the top"


def test_no_module_named_utils():
    assert not [name for name in IDS if "utils" in name or "helpers" in name or "misc" in name]


MODULES = {name: importlib.import_module(f"tftransfer.{name}") for name in sorted(FOLDERS)}
NO_EXAMPLE = {"register", "Description", "JaxStrategy"}  # Keras's own; what the library makes and users read
PUBLIC = [(module, name) for module in MODULES for name in MODULES[module].__all__]


@pytest.mark.parametrize("module", MODULES)
def test_all_has_no_doubles(module):
    names = MODULES[module].__all__
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("module, name", PUBLIC, ids=[".".join(p) for p in PUBLIC])
def test_public_names_exist_and_are_described(module, name):
    member = getattr(MODULES[module], name)
    text = inspect.getdoc(member) or ""
    assert len(text) > 40
    if name in NO_EXAMPLE or dataclasses.is_dataclass(member) or hasattr(member, "_fields"):
        return  # results that the library makes and the user reads
    assert ">>>" in text, "no example"
    parameters = inspect.signature(member).parameters
    named = [p for p in parameters.values() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    if named:
        assert "Args:" in text or "Attributes:" in text, "no Args"
        missing = [p.name for p in named if p.name not in text and "arguments are those of" not in text]
        assert not missing, f"the docstring says nothing of {missing}"


def test_top_level_names():
    assert len(set(tftransfer.__all__)) == len(tftransfer.__all__)
    for name in tftransfer.__all__:
        assert getattr(tftransfer, name) is not None
    assert set(dir(tftransfer)) >= set(tftransfer.__all__)
    with pytest.raises(AttributeError, match=r"no attribute 'pretrian'; it has .*pretrain"):
        tftransfer.pretrian  # noqa: B018
    for name in ("pretrain", "finetune", "evaluate", "compare"):
        text = inspect.getdoc(getattr(tftransfer, name))
        assert "Args:" in text and "Returns:" in text and ">>>" in text


def python(code):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT.parent, capture_output=True, text=True, timeout=120)


def test_without_a_backend_one_paragraph_says_what_to_install():
    done = python(
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name in ('tensorflow', 'jax') else find(name, *a)\n"
        "import tftransfer"
    )
    assert done.returncode == 1
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("ImportError: tftransfer needs TensorFlow (or JAX)")
    for extra in ("cpu", "gpu", "tpu", "jax"):
        assert f'pip install "tftransfer[{extra}]"' in message
    assert "keras" not in done.stderr  # nothing else was tried before


def test_jax_alone_is_taken():
    done = python(
        "import importlib.util as u, os; find = u.find_spec; os.environ.pop('KERAS_BACKEND', None)\n"
        "u.find_spec = lambda name, *a: None if name == 'tensorflow' else find(name, *a)\n"
        "import tftransfer; print(os.environ.get('KERAS_BACKEND'))"
    )
    assert done.stdout.strip() == "jax", done.stderr


def test_importing_the_package_imports_no_backend():
    done = python(
        "import sys, tftransfer; print([m for m in ('tensorflow', 'jax', 'keras', 'numpy') if m in sys.modules])"
    )
    assert done.stdout.strip() == "[]", done.stderr


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    from tftransfer import backbones, tasks, weights

    folder = tmp_path_factory.mktemp("saved")
    backbone = backbones.vit((8, 8, 1), patch_size=4, width=8, depth=1, num_heads=1)
    weights.save_backbone(backbone, folder / "vit.weights.h5")
    tasks.Classifier(backbone, num_classes=2).save(folder / "task.keras")
    return folder


@pytest.mark.parametrize(
    "imports",
    [
        "import keras, tftransfer",
        "import tftransfer, importlib.util; importlib.util.find_spec('keras'); import keras",
        "import tftransfer as tt; tt.weights; import keras",
        "from tftransfer.optimizers import *; import keras",
    ],
)
def test_files_that_name_our_classes_load_whatever_was_imported(saved, imports):
    path = str(saved / "task.keras")
    done = python(f"{imports}; print(type(keras.saving.load_model({path!r})).__name__)")
    assert done.stdout.strip() == "Classifier", done.stderr[-2000:]


def test_a_backbone_of_our_layers_loads_after_importing_weights_alone(saved):
    path = str(saved / "vit.weights.h5")
    done = python(f"from tftransfer.weights import load_backbone; print(load_backbone({path!r}).name)")
    assert done.stdout.strip() == "vit", done.stderr[-2000:]


def test_the_package_can_be_sent_to_another_process():
    import pickle

    assert pickle.loads(pickle.dumps(tftransfer)) is tftransfer
