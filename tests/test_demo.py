"""The demo at small size, and (slow) as it is, on which the library's claim rests."""

import json

import numpy as np
import pytest

from tftransfer import data, demo, evaluation, objectives, weights

SMALL = {"backbone": "cnn(filters=(4, 8))", "epochs": 2, "draws": 2, "labels_per_class": 3, "verbose": 0}


@pytest.fixture(scope="module")
def seen():
    return {}


@pytest.fixture(scope="module")
def small(tmp_path_factory, seen):
    """The folder of a small demo; what its parts were given is noted."""
    folder, patch = tmp_path_factory.mktemp("demo"), pytest.MonkeyPatch()
    pretrain, compare = demo.pretrain, evaluation.compare

    def noting_pretrain(objective, x, **more):
        seen.update(x=x, objective=objective)
        return pretrain(objective, x, **more)

    def noting_compare(path, train, test, **more):
        seen.update(train=train, test=test)
        quick = {"scratch_learning_rates": (1e-2,)}
        return compare(path, train, test, **more, **quick)

    patch.setattr(demo, "pretrain", noting_pretrain)
    patch.setattr(evaluation, "compare", noting_compare)
    try:
        seen["comparison"] = demo.demo(folder=folder, **SMALL)
    finally:
        patch.undo()
    return folder


def test_files_are_there(small):
    names = sorted(p.name for p in small.iterdir())
    assert names == ["digits.json", "digits.png", "digits.weights.h5"]
    assert (small / "digits.png").stat().st_size > 5000
    assert weights.load_backbone(small / "digits.weights.h5").name == "cnn"


def test_json_has_every_figure_seed_and_version(small, seen):
    content = json.loads((small / "digits.json").read_text())
    rows = {row["arm"]: row for row in content["rows"]}
    for arm in ("pretrained", "scratch"):
        assert len(rows[arm]["accuracy"]) == len(rows[arm]["f1_macro"]) == len(rows[arm]["seconds"]) == 2
        assert rows[arm]["steps"] > 0 and rows[arm]["accuracy_interval"]["n"] == 2
    assert rows["scratch"]["steps"] >= rows["pretrained"]["steps"]  # the control is trained as long
    assert content["gains"][0]["labels_per_class"] == 3 and "verdict" in content
    details = content["details"]
    assert details["seed"] == 0 and details["draw_seeds"] == [0, 1]
    assert (
        details["data"] == "digits"
        and details["objective"] == "simclr"
        and details["pretraining_epochs"] == 2
    )
    assert len(details["pretraining_loss"]) == 2 and details["seconds"] > details["pretraining_seconds"] > 0
    assert {"tftransfer", "keras", "numpy", "python", "scikit-learn", "h5py"} <= set(details["versions"])
    assert details["versions"].get("tensorflow") or details["versions"].get("jax")


def test_no_test_example_was_seen_in_training(small, seen):
    def rows(x):
        return {row.tobytes() for row in np.asarray(x)}

    train, test = data.load("digits"), data.load("digits", split="test")
    assert np.array_equal(seen["x"], train.x)  # no labels, and the training part alone
    assert np.array_equal(seen["train"].x, train.x) and np.array_equal(seen["test"].x, test.x)
    assert not rows(train.x) & rows(test.x)
    assert seen["comparison"].details["test_examples"] == test.size == 540
    assert any("No test example" in note for note in seen["comparison"].details["notes"])


def test_views_suit_digits(small, seen):
    assert isinstance(seen["objective"], objectives.SimCLR)
    view = seen["objective"].augmentation
    assert not view.flip and view.crop_scale[0] >= 0.5  # a mirrored 2 is no 2


def test_a_source_without_a_test_part_gives_a_fifth(tmp_path):
    x, y = np.random.default_rng(0).integers(0, 255, (50, 8, 8, 1), dtype="uint8"), np.arange(50) % 5
    np.savez(tmp_path / "own.npz", x=x, y=y)
    train, test = demo._load(str(tmp_path / "own.npz"), None, None, seed=0)
    assert (train.size, test.size) == (40, 10) and np.bincount(test.y).tolist() == [2] * 5
    assert not {r.tobytes() for r in train.x} & {r.tobytes() for r in test.x}
    np.savez(tmp_path / "unlabelled.npz", x=x)
    with pytest.raises(ValueError, match="needs labelled examples"):
        demo._load(str(tmp_path / "unlabelled.npz"), None, None, seed=0)


def test_names_choose_what_is_built():
    model = demo._objective("digits", "masked_autoencoder(mask_ratio=0.5)", "vit(depth=1)", (8, 8, 1))
    assert isinstance(model, objectives.MaskedAutoencoder) and model.mask_ratio == 0.5
    trunk = model.backbone.get_layer("trunk")
    assert trunk.input_shape[-1] == 128 and len(trunk.layers) == 3  # a small one, the depth as given


def test_bad_input_before_any_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        demo.demo(folder=tmp_path / "file")
    for more, words in (({"objective": "simclrr"}, "There is no"), ({"backbone": "cnn("}, "not understood")):
        with pytest.raises(ValueError, match=words):
            demo.demo(folder=tmp_path, **more)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_pretraining_helps_on_the_digits(tmp_path):
    comparison = demo.demo(folder=tmp_path, verbose=0)
    intervals = {
        arm: evaluation.mean_interval(comparison.row(5, arm).accuracy) for arm in ("pretrained", "scratch")
    }
    assert intervals["pretrained"].low > intervals["scratch"].high, comparison.verdict
    assert comparison.gain(5).low > 0 and "helped" in comparison.verdict
    assert intervals["scratch"].mean > 0.7  # the control was given its chance
