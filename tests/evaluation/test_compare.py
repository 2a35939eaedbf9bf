"""compare() with real models: repeatable, fair, and the user's backbone stays as it was."""

import json

import keras
import numpy as np
import pytest

from tftransfer.backbones import mlp
from tftransfer.data import Examples
from tftransfer.evaluation import compare, evaluate
from tftransfer.finetuning import finetune
from tftransfer.policies import full, linear_probe
from tftransfer.tasks import Classifier
from tftransfer.weights import save_backbone

pytestmark = pytest.mark.compute


def blobs(n=120, seed=0):
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    return Examples((random.normal(size=(n, 6)) + 1.5 * np.eye(6)[labels]).astype("float32"), labels)


QUICK = linear_probe(epochs=2, learning_rate=1e-2) + full(epochs=2, learning_rate=1e-3)
TRAIN, TEST = blobs(), blobs(60, seed=1)


def quick(backbone, labelled=TRAIN, test=TEST, **given):
    given = {"draws": 2, "policy": QUICK, "scratch_learning_rates": (1e-2,), "verbose": 0} | given
    return compare(backbone, labelled, test, **given)


@pytest.fixture
def backbone():
    return mlp((6,), units=(8,))


def test_pretrained_arm_is_finetune_and_evaluate_by_hand(backbone):
    result = quick(backbone, seed=3, draws=1)
    pool, _ = TRAIN.split(0.2, seed=3)
    keras.utils.set_random_seed(3)
    task = Classifier(backbone, num_classes=3)
    finetune(task, pool.few(5, seed=3), policy=QUICK, verbose=0)
    by_hand = evaluate(task, TEST, verbose=0).metrics
    row = result.row(5, "pretrained")
    assert row.accuracy == [by_hand["accuracy"]] and row.f1_macro == [by_hand["f1_macro"]]
    assert row.steps == 4  # 15 examples, one step an epoch, four epochs


def test_a_second_call_gives_the_same_figures_and_the_backbone_is_left_alone(backbone):
    backbone.trainable = False
    before = backbone.get_weights()
    first = quick(backbone, labels_per_class=3, scratch_learning_rates=(1e-3, 1e-2))
    for now, then in zip(backbone.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert not backbone.trainable
    second = quick(backbone, labels_per_class=3, scratch_learning_rates=(1e-3, 1e-2))
    for one, other in zip(first.rows, second.rows, strict=True):
        assert one._replace(seconds=[]) == other._replace(seconds=[])
    assert [row.learning_rate is None for row in first.rows] == [True, False]
    assert all(row.steps >= first.row(row.labels_per_class, "pretrained").steps for row in first.rows)


def test_every_figure_is_in_the_json(backbone):
    result = quick(backbone, seed=7)
    content = json.loads(result.to_json())
    assert (
        content["details"]["draw_seeds"] == [7, 8]
        and content["details"]["versions"]["keras"] == keras.__version__
    )
    assert content["details"]["test_examples"] == 60 and content["details"]["development_examples"] == 24
    assert "linear_probe" in content["details"]["policies"][0]["pretrained"]
    assert "No test example" in str(result)


def test_examples_arrays_one_hot_and_datasets_give_the_same(backbone):
    expected = quick(backbone, draws=1).rows[0].accuracy
    assert (
        quick(backbone, (TRAIN.x, np.eye(3)[TRAIN.y]), (TEST.x, TEST.y), draws=1).rows[0].accuracy == expected
    )
    tf = pytest.importorskip("tensorflow")
    datasets = [tf.data.Dataset.from_tensor_slices((part.x, part.y)).batch(32) for part in (TRAIN, TEST)]
    assert quick(backbone, *datasets, draws=1).rows[0].accuracy == expected


def test_own_development_examples_leave_all_labelled_ones_to_draw_from(backbone):
    result = quick(backbone, development=blobs(30, seed=2))
    assert result.details["drawn_from"] == 120 and result.details["development_examples"] == 30


def test_a_real_difference_is_found(backbone):
    """A backbone that already separates the classes must beat scratch at one label per class."""
    spread = np.array([0.05, 0.05, 0.05, 3, 3, 3], "float32")  # three telling features, three of noise
    x = 2 * np.repeat(np.eye(6)[:3], 40, axis=0) + spread * np.random.default_rng(0).normal(size=(120, 6))
    labelled = Examples(x.astype("float32"), np.arange(120) // 40)
    kernel = np.zeros((6, 8), "float32")
    kernel[:3, :3] = 5 * np.eye(3)
    dense = next(layer for layer in backbone.layers if layer.weights)
    dense.set_weights([kernel, np.zeros(8, "float32")][: len(dense.get_weights())])
    result = quick(
        backbone,
        *labelled.split(0.5),
        labels_per_class=1,
        draws=4,
        policy=linear_probe(epochs=20, learning_rate=0.1),
    )
    assert "pretraining helped" in result.verdict


@pytest.mark.parametrize(
    "given, says",
    [
        ({"draws": 0}, "at least 1"),
        ({"labels_per_class": ()}, "labels_per_class"),
        ({"labels_per_class": (5, 5)}, "different"),
        ({"labels_per_class": 100}, "fewer examples"),
        ({"scratch_learning_rates": ()}, "scratch_learning_rates"),
        ({"scratch_learning_rates": (-1.0,)}, "above 0"),
        ({"scratch_policy": full(epochs=1)}, "no fair|unfair"),
        ({"labelled": TRAIN.x}, "label"),
        ({"labelled": (TRAIN.x, None)}, "missing"),
        ({"labelled": (TRAIN.x, TRAIN.y * 2)}, "without gaps"),
        ({"labelled": (TRAIN.x, TRAIN.y * 0), "test": (TEST.x, TEST.y * 0)}, "two classes"),
        ({"test": TRAIN}, "also in labelled"),
        ({"development": TEST}, "also in development"),
        ({"test": (TEST.x, np.arange(60) % 4)}, "have none"),
    ],
)
def test_bad_input(backbone, given, says):
    with pytest.raises(ValueError, match=says):
        quick(backbone, **given)


def test_a_weights_file_gives_the_figures_of_its_backbone(backbone, tmp_path):
    path = tmp_path / "encoder.weights.h5"
    save_backbone(backbone, path)
    of_file, of_model = (quick(source, draws=1).row(5, "pretrained") for source in (path, backbone))
    assert of_file.accuracy == of_model.accuracy
    with pytest.raises(OSError):
        quick(tmp_path / "nowhere.weights.h5")
