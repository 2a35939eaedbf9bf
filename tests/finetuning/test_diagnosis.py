"""diagnose(): each fault, planted, is found with advice, and a sound task has no findings."""

import keras
import numpy as np
import pytest

import tftransfer as tt
from tests.finetuning.conftest import pictures, small_backbone
from tftransfer.finetuning.diagnosis import Diagnosis, diagnose
from tftransfer.finetuning.smoothing import SparseSmoothedCrossentropy
from tftransfer.tasks import Classifier, Regressor

pytestmark = pytest.mark.compute


@pytest.fixture
def data():
    return pictures(48)


def sequential(*layers, shape=(6, 6, 1)):
    return keras.Sequential([keras.Input(shape), *layers])


def plain(activation=None, units=3, before=()):
    return sequential(*before, keras.layers.Flatten(), keras.layers.Dense(units, activation=activation))


def compiled(loss, **options):
    model = plain(**options)
    model.compile("adam", loss)
    return model


def found(*arguments, **options):
    """`(level, check)` of each finding; each has advice of one line."""
    diagnosis = diagnose(*arguments, **options)
    for finding in diagnosis.findings:
        assert finding.what and finding.advice.endswith((".", "?"))
        assert "\n" not in finding.what + finding.advice
    return [(finding.level, finding.check) for finding in diagnosis.findings]


def test_a_sound_task_has_no_findings(make_task, data, validation):
    diagnosis = diagnose(
        make_task(),
        data,
        validation_data=validation,
        pretraining_data=pictures(60, seed=5)[0],
        learning_rate=1e-4,
    )
    assert diagnosis.ok and diagnosis.findings == ()
    assert "in order: examples, input range, activation, labels" in str(diagnosis)
    x, y = data
    assert found(make_task(), (x, np.eye(3, dtype="float32")[y])) == []
    assert found(make_task(), ((x * 255).astype("uint8"), y)) == []
    scc = keras.losses.SparseCategoricalCrossentropy
    assert found(compiled(scc(from_logits=True)), data) == []
    assert found(compiled(SparseSmoothedCrossentropy(0.1)), data) == []
    assert found(compiled(scc(), activation="softmax"), data) == []
    assert found(compiled("sparse_categorical_crossentropy", activation="softmax"), data) == []
    assert found(compiled("binary_crossentropy", activation="sigmoid", units=1), (x, y % 2)) == []
    assert found(Regressor(small_backbone()), (x, y + 0.5)) == []
    assert found(Classifier(small_backbone(), 3, multi_label=True), (x, np.eye(3)[y])) == []


def test_it_changes_nothing(make_task, data):
    task = make_task()
    before, names = task.get_weights(), set(vars(task))
    diagnose(task, data, validation_data=data, pretraining_data=data)
    assert all((one == other).all() for one, other in zip(before, task.get_weights(), strict=True))
    assert set(vars(task)) == names and not task.compiled


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x * 255, "rescaling is missing"),
        (lambda x: x / 255, "rescaled twice"),
        (lambda x: x * 2 - 1, "shifted"),
    ],
)
def test_input_range(make_task, data, change, words):
    (finding,) = diagnose(make_task(), (change(data[0]), data[1])).findings
    assert finding.check == "input range" and words in finding.what


def test_input_range_of_a_rescaling_layer(data):
    x, y = data
    rescaling = keras.layers.Rescaling(1 / 255)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert found(compiled(loss, before=[rescaling]), ((x * 255).astype("uint8"), y)) == []
    assert found(compiled(loss, before=[keras.layers.Rescaling(1 / 127.5, -1)]), (x * 255, y)) == []
    (twice,) = diagnose(compiled(loss, before=[rescaling]), (x, y)).findings
    assert "rescaled twice" in twice.what and "[0, 255]" in twice.what
    double = compiled(loss, before=[rescaling, keras.layers.Rescaling(1 / 255)])
    assert found(double, (x * 255, y)) == [("error", "input range")]


def test_input_range_and_rate_of_the_weights_file(tmp_path, data):
    x, y = data
    backbone = small_backbone()
    for value_range, examples, faults in (
        ([0.0, 1.0], x, []),
        ([0.0, 1.0], x * 255, [("error", "input range")]),
        ([0.0, 255.0], x, [("error", "input range")]),
        ([0.0, 255.0], x * 255, []),
        ([-1.0, 1.0], x, [("warning", "input range")]),
    ):
        path = tt.weights.save_backbone(
            backbone,
            tmp_path / "b.weights.h5",
            preprocessing={"value_range": value_range},
            objective={"learning_rate": 1e-3},
        )
        task = Classifier(path, num_classes=3)
        assert found(task, (examples, y), learning_rate=1e-4) == faults
    assert found(task, (x * 2 - 1, y), learning_rate=1e-2) == [("warning", "learning rate")]
    task.compile("sgd", task.default_loss())
    assert found(task, (x * 2 - 1, y)) == [("warning", "learning rate")]
    task.backbone.trainable = False
    assert found(task, (x * 2 - 1, y)) == []


def test_channels_and_values(make_task, data):
    x, y = data
    for wrong in (x.repeat(3, axis=-1), x.transpose(0, 3, 1, 2), x[..., 0], np.where(x > 0.8, np.nan, x)):
        assert ("error", "examples") in found(make_task(), (wrong, y))
    assert found(make_task(), (x, y[:5])) == [("error", "examples")]
    assert found(make_task(), "pictures") == [("error", "examples")]


@pytest.mark.parametrize(
    ("activation", "units", "loss"),
    [
        ("softmax", 3, keras.losses.SparseCategoricalCrossentropy(from_logits=True)),
        ("sigmoid", 1, keras.losses.BinaryCrossentropy(from_logits=True)),
        (None, 3, keras.losses.SparseCategoricalCrossentropy()),
        (None, 3, "sparse_categorical_crossentropy"),
        (None, 3, keras.losses.sparse_categorical_crossentropy),
        ("softmax", 1, keras.losses.BinaryCrossentropy()),
        ("sigmoid", 3, keras.losses.SparseCategoricalCrossentropy()),
    ],
)
def test_activation(data, activation, units, loss):
    x, y = data
    checks = found(compiled(loss, activation=activation, units=units), (x, y % max(2, units)))
    assert set(checks) == {("error", "activation")}


def test_softmax_in_the_head_of_a_task(data):
    task = Classifier(small_backbone(), 3, head=keras.layers.Dense(3, activation="softmax"))
    assert found(task, data) == [("error", "activation")]


@pytest.mark.parametrize(
    ("loss", "units", "y"),
    [
        (keras.losses.SparseCategoricalCrossentropy(True), 3, lambda y: np.eye(3)[y]),
        (keras.losses.CategoricalCrossentropy(True), 3, lambda y: y),
        (keras.losses.BinaryCrossentropy(True), 3, lambda y: y),
        (keras.losses.BinaryCrossentropy(True), 1, lambda y: y),
        (keras.losses.SparseCategoricalCrossentropy(True), 3, lambda y: y + 1),
        (keras.losses.SparseCategoricalCrossentropy(True), 3, lambda y: y + 0.5),
        (keras.losses.SparseCategoricalCrossentropy(True), 3, lambda y: np.array(["a", "b", "c"])[y]),
    ],
)
def test_labels_against_the_loss(data, loss, units, y):
    x, classes = data
    assert ("error", "labels") in found(compiled(loss, units=units), (x, y(classes)))


def test_labels_against_the_head(make_task, data):
    x, y = data
    assert found(Classifier(small_backbone(), 2), data) == [("error", "labels")]
    assert found(Classifier(small_backbone(), 10), data) == [("warning", "head width")]
    assert ("error", "labels") in found(make_task(), (x, None))
    assert found(make_task(), (x, np.eye(4)[y]))[0] == ("error", "labels")


def test_class_balance(make_task):
    x, y = pictures(120)
    few = np.r_[np.flatnonzero(y != 1), np.flatnonzero(y == 1)[:4]]
    (finding,) = diagnose(make_task(), (x[few], y[few])).findings
    assert finding[:2] == ("warning", "class balance")
    assert "class 1 has 4" in finding.what and "balanced" in finding.advice
    two = y < 2
    checks = found(Classifier(small_backbone(), 2), (x[two], y[two]), validation_data=pictures(30, seed=1))
    assert checks == [("warning", "class balance")]


def test_batch_norm_on_small_batches(make_task, data):
    x, y = data
    assert found(make_task(), data, batch_size=4) == [("warning", "batch norm")]
    assert found(make_task(), (x[:9], y[:9])) == [("warning", "batch norm")]
    assert found(make_task(), (x[:33], y[:33])) == [("warning", "batch norm")]  # the last batch holds 1
    task = make_task()
    task.backbone.trainable = False
    assert found(task, data, batch_size=4) == []


def test_stale_compile(make_task, data):
    task = make_task()
    task.compile("adam", task.default_loss())
    task.backbone.trainable = False
    assert found(task, data) == []  # nothing is traced yet: Keras will see the change
    task.fit(*data, verbose=0)
    assert found(task, data) == []
    task.backbone.trainable = True
    (finding,) = diagnose(task, data).findings
    assert finding[:2] == ("error", "compile state") and "5 variables would stand still" in finding.what
    task.compile("adam", task.default_loss())
    assert found(task, data) == []


def test_overlap(make_task, data, validation):
    x, y = data
    mixed = np.concatenate([validation[0], x[:3]]), np.concatenate([validation[1], y[:3]])
    (finding,) = diagnose(make_task(), data, validation_data=mixed).findings
    assert (
        finding[:2] == ("warning", "overlap")
        and "3 of the 18" in finding.what
        and "15, 16, 17" in finding.what
    )
    assert found(make_task(), data, validation_data=mixed, pretraining_data=x) == [("warning", "overlap")] * 2
    large = np.random.default_rng(0).uniform(size=(60, 12, 12, 1)).astype("float32")
    model = sequential(keras.layers.Flatten(), keras.layers.Dense(3), shape=(12, 12, 1))
    nearly = large[:2] * 0.8 + 0.1
    (finding,) = diagnose(model, (large, np.arange(60) % 3), validation_data=(nearly, [0, 1])).findings
    assert "nearly" in finding.what


def test_one_example_with_two_labels(make_task, data):
    x, y = (np.concatenate([part, part[:1]]) for part in data)
    y[-1] = (y[-1] + 1) % 3
    (finding,) = diagnose(make_task(), (x, y), batch_size=48 + 1).findings
    assert finding[:2] == ("warning", "overlap") and "different labels" in finding.what


def test_datasets(make_task, data, validation):
    tf = pytest.importorskip("tensorflow")
    x, y = data
    dataset = tf.data.Dataset.from_tensor_slices(((x * 255).astype("uint8"), y))
    assert found(make_task(), dataset, validation_data=tf.data.Dataset.from_tensor_slices(validation)) == []
    assert found(make_task(), dataset.batch(4)) == [("warning", "batch norm")]
    assert found(make_task(), tf.data.Dataset.from_tensor_slices((x * 255, y))) == [("error", "input range")]
    assert found(make_task(), dataset.repeat()) == [("error", "examples")]


def test_it_prints_and_shows(make_task, data):
    diagnosis = diagnose(make_task(), (data[0] * 255, data[1]), batch_size=4)
    text = str(diagnosis)
    assert text.startswith(f"{diagnosis.name}: 2 findings") and "→ Bring the values to [0, 1]" in text
    assert max(map(len, text.splitlines())) <= 120
    assert text.index("error") < text.index("warning")
    assert "not looked at: compile state (the model has not been trained" in text
    page = diagnosis._repr_html_()
    assert page.count("<tr>") == 3 and "&lt;" not in page
    assert "<script>" not in Diagnosis("<script>", diagnosis.findings, {})._repr_html_()


def test_mistakes_raise(make_task, data):
    with pytest.raises(ValueError, match="takes a task"):
        diagnose("task", data)
    with pytest.raises(ValueError, match="batch_size"):
        diagnose(make_task(), data, batch_size=0)
