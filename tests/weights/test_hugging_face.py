"""Folders of Hugging Face: small random ones, made by `hugging_face_files.py` under transformers 5.23."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from tests.weights.hugging_face_files import PAIR, TEXTS
from tftransfer import backbones, tasks
from tftransfer.layers import tokenization_of
from tftransfer.weights import load_backbone, save_backbone, transfer_weights


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hugging_face")
    with tarfile.open(Path(__file__).parent / "hugging_face_files.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.mark.parametrize("kind, shift", [("bert", 0), ("gpt2", 1)])
def test_hidden_states_are_those_of_transformers(folder, kind, shift, tmp_path):
    model, receipt = load_backbone(folder / kind, return_receipt=True)
    assert receipt.percent_loaded == 100 and receipt.verify()
    tokenization = tokenization_of(model)
    ids = np.asarray(tokenization.encode(TEXTS))
    if kind == "bert":
        ids = np.concatenate([ids, tokenization.encode([PAIR[0]], [PAIR[1]])])
        assert {line.path for line in receipt.of("unused")} >= {"cls.predictions.bias"}
    features = np.asarray(model(ids))
    with np.load(folder / kind / "reference.npz") as reference:
        for i, row in enumerate(ids):
            expected, theirs = reference[f"hidden_{i}"], reference[f"ids_{i}"]
            n = len(theirs)
            assert row[:n].tolist() == (theirs + shift).tolist()  # the same tokens; ours leave 0 to padding
            np.testing.assert_allclose(features[i, :n], expected, atol=1e-4)
            assert not features[i, n:].any()
    save_backbone(model, tmp_path / "ours.weights.h5")
    np.testing.assert_array_equal(np.asarray(load_backbone(tmp_path / "ours.weights.h5")(ids)), features)


def test_a_task_reads_texts_by_the_folders_tokenizer(folder, capsys):
    task = tasks.Classifier(folder / "bert", num_classes=3)
    assert "renamed" in capsys.readouterr().out
    assert task.predict(TEXTS, verbose=0).shape == (2, 3)


def edited(folder, tmp_path, **settings):
    shutil.copytree(folder / "bert", tmp_path / "bert")
    path = tmp_path / "bert" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    return tmp_path / "bert"


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"model_type": "t5"}, "type 't5'; bert and gpt2 are read here"),
        ({"hidden_act": "relu"}, "hidden_act"),
        ({"hidden_size": None}, "config.json lacks"),
        ({"intermediate_size": 32}, "config.json does not fit"),
        ({"num_hidden_layers": 3}, "lacks encoder.layer.2"),
    ],
)
def test_other_settings_are_refused(folder, tmp_path, settings, words):
    with pytest.raises(ValueError, match=words):
        load_backbone(edited(folder, tmp_path, **settings))


def test_damaged_files_are_refused(folder, tmp_path):
    path = edited(folder, tmp_path)
    whole = (path / "model.safetensors").read_bytes()
    for broken in (whole[:-8], b"", whole[:100], b"\xff" * 8 + whole[8:], whole.replace(b'"F32"', b'"X32"')):
        (path / "model.safetensors").write_bytes(broken)
        with pytest.raises(ValueError, match="damaged"):
            load_backbone(path)
    (path / "model.safetensors").unlink()
    (path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="can run code"):
        load_backbone(path)


def test_weights_in_several_files(folder, tmp_path):
    path = edited(folder, tmp_path)
    (path / "model.safetensors").rename(path / "model-00001-of-00001.safetensors")
    index = {"weight_map": {"bert.any": "model-00001-of-00001.safetensors"}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert load_backbone(path).name == "bert"
    index["weight_map"]["more"] = "../elsewhere.safetensors"
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="outside of its folder"):
        load_backbone(path)


def test_another_tokenizer_than_that_of_the_weights(folder, tmp_path):
    model = load_backbone(folder / "bert")
    own = tokenization_of(model)
    other = type(own)(own.tokenizer.replace('"##at"', '"##zz"'), max_length=20)
    sizes = {"width": 16, "depth": 2, "num_heads": 2, "mlp_ratio": 1.5}
    receiver = backbones.bert(other, **sizes)
    save_backbone(model, tmp_path / "ours.weights.h5")
    for source in (model, tmp_path / "ours.weights.h5"):
        with pytest.raises(ValueError, match=f"another tokenizer .*{own.checksum}.*{other.checksum}"):
            transfer_weights(source, receiver)
    same = type(own)(own.tokenizer, max_length=20)
    assert transfer_weights(model, backbones.bert(same, **sizes)).percent_loaded == 100
