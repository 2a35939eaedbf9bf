import functools
import os
import signal
import subprocess
import sys
import textwrap
import warnings

import keras
import numpy as np
import pytest

from tftransfer import backbones, data, objectives, placement, pretrain, weights
from tftransfer.checkpoints import Checkpoint
from tftransfer.compilation import default_compile

tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="about tf.data or tf.distribute"
)


def examples(n=40, seed=0):
    return np.random.default_rng(seed).random((n, 8), dtype="float32")


def autoencoder(seed=0, noise=0.2, units=(4,)):
    """Quick to trace, and with random numbers in each step."""
    keras.utils.set_random_seed(seed)
    return objectives.Autoencoder(backbones.mlp((8,), units=units), noise=noise)


def values(model):
    return [keras.ops.convert_to_numpy(v) for v in model.weights]


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(values(first), values(second), strict=True))


def run(objective, x, **more):
    return pretrain(objective, x, **{"epochs": 3, "batch_size": 8, "verbose": 0, **more})


class Crash(keras.callbacks.Callback):
    """Counts steps, and fails in the given one."""

    def __init__(self, at=None):
        super().__init__()
        self.at, self.steps = at, 0

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        if self.steps == self.at:
            raise RuntimeError("the power went out")


@pytest.fixture
def always_saving(monkeypatch):
    monkeypatch.setitem(Checkpoint.__init__.__kwdefaults__, "seconds", -1.0)


# What comes back


def test_history_and_backbone():
    objective, steps = autoencoder(), Crash()
    before = values(objective)
    history = run(objective, examples(), callbacks=[steps])
    assert isinstance(history, keras.callbacks.History)
    assert len(history.history["loss"]) == 3 and history.epoch == [0, 1, 2]
    assert history.backbone is objective.backbone and history.model is objective
    assert steps.steps == 15
    assert all(np.abs(a - b).max() > 0 for a, b in zip(before, values(objective), strict=True))


@pytest.mark.compute
def test_the_same_as_compile_and_fit_by_hand():
    first, second, x = autoencoder(), autoencoder(), examples(44)  # 5 batches and a rest
    run(first, x, seed=7)
    default_compile(second, steps=15, say=lambda _: None)
    batches = data.batches(
        x, batch_size=8, shuffle=True, seed=7, drop_remainder=True, repeat=True, labels=False
    )
    second.fit(batches, epochs=3, steps_per_epoch=5, shuffle=False, verbose=0)
    assert same(first, second)


def test_a_compiled_objective_is_trained_as_it_is():
    objective = autoencoder()
    objective.compile(keras.optimizers.SGD(0.0))
    optimizer, before = objective.optimizer, values(objective)
    run(objective, examples())
    assert objective.optimizer is optimizer
    assert all(np.array_equal(a, b) for a, b in zip(before, values(objective), strict=True))


def test_default_compile(capsys):
    objective = autoencoder()
    default_compile(objective, steps=100)
    rate = [float(objective.optimizer._learning_rate(step)) for step in range(101)]
    assert rate[0] == 0 and max(rate) == rate[10] == pytest.approx(1e-3) and rate[100] < 1e-8
    assert rate[1] == pytest.approx(1e-4)
    decayed = [v.name for v in objective.trainable_variables if objective.optimizer._use_weight_decay(v)]
    assert set(decayed) == {"kernel"}
    assert "AdamW, learning rate 0.001" in capsys.readouterr().out


@pytest.mark.compute
def test_same_seed_same_weights_another_seed_another_order():
    first, second, third = autoencoder(), autoencoder(), autoencoder()
    for objective, seed in ((first, 1), (second, 1), (third, 2)):
        run(objective, examples(), seed=seed)
    assert same(first, second) and not same(first, third)


def test_a_callback_may_stop_the_run(tmp_path):
    class Enough(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    history = run(
        autoencoder(), examples(), epochs=5, callbacks=[Enough()], save_to=tmp_path / "a.weights.h5"
    )
    assert len(history.history["loss"]) == 2 and history.epoch == [0, 1]
    assert (tmp_path / "a.weights.h5").exists()


def test_silent_and_loud(capfd, tmp_path):
    run(autoencoder(), examples(), epochs=1, save_to=tmp_path / "a.weights.h5")
    assert capfd.readouterr().out == ""
    run(autoencoder(), examples(), epochs=1, save_to=tmp_path / "a.weights.h5", verbose="auto")
    out = capfd.readouterr().out
    assert "AdamW" in out and "5/5" in out and "Saved the backbone to" in out


# What goes in


def test_labels_are_ignored():
    x, y = examples(), np.arange(40) % 3
    plain = autoencoder()
    run(plain, x)
    for source in ((x, y), data.Examples(x)):
        other = autoencoder()
        history = run(other, source)
        assert same(plain, other) and list(history.history) == ["loss"]  # and nothing is probed with them


@tensorflow_only
def test_tf_data():
    import tensorflow as tf

    x, y = examples(), np.arange(40)
    rows = tf.data.Dataset.from_tensor_slices
    for source in (rows(x), rows(x).batch(8), rows((x, y)), rows((x, y)).shuffle(40, seed=0).batch(10)):
        objective, steps = autoencoder(), Crash()
        history = run(objective, source, epochs=2, callbacks=[steps])
        assert steps.steps in (10, 8) and np.isfinite(history.history["loss"]).all()
    first, second = autoencoder(), autoencoder()
    run(first, rows(x).batch(8))
    run(second, rows((x, y)).batch(8))  # batches of one's own keep their order: the same run
    assert same(first, second)


def test_bytes_are_scaled_like_floats():
    x = np.random.default_rng(0).integers(0, 256, (40, 8), dtype="uint8")
    first, second = autoencoder(), autoencoder()
    run(first, x)
    run(second, x.astype("float32") / 255)
    assert same(first, second)


def test_a_backbone_that_rescales_gets_bytes_as_they_are():
    x = np.random.default_rng(0).integers(0, 256, (16, 4, 4, 1), dtype="uint8")
    layers = [
        keras.Input((4, 4, 1)),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Flatten(),
        keras.layers.Dense(9),
    ]
    seen = []

    class Spy(objectives.Autoencoder):
        def call(self, inputs, training=None):
            seen.append(inputs.dtype)
            return super().call(inputs, training)

    run(Spy(keras.Sequential(layers)), x, epochs=1)
    assert "uint8" in str(seen[-1])


def two_views(n=16):
    x = np.random.default_rng(0).random((n, 8, 8, 1), dtype="float32")
    return {"view_1": x, "view_2": x[:, :, ::-1].copy()}


@pytest.mark.parametrize("kind", ["arrays", "tf.data"])
def test_views_made_beforehand(kind, tmp_path):
    views = two_views()
    if kind == "tf.data":
        tf = pytest.importorskip("tensorflow")
        views = tf.data.Dataset.from_tensor_slices(views)
    objective = objectives.SimCLR(backbones.cnn((8, 8, 1), filters=(4, 8)))
    path = tmp_path / "a.weights.h5"
    history = run(objective, views, epochs=1, save_to=path)
    assert np.isfinite(history.history["loss"]).all()
    assert weights.describe(path).preprocessing["input_shape"] == [8, 8, 1]


def test_fewer_examples_than_a_batch():
    with pytest.warns(UserWarning, match="only 5 examples: batch_size is lowered from 8 to 5"):
        history = run(autoencoder(), examples(5))
    assert len(history.history["loss"]) == 3


@tensorflow_only
@pytest.mark.parametrize("batched", [False, True])
def test_fewer_examples_than_a_batch_of_tf_data(batched):
    import tensorflow as tf

    dataset, steps = tf.data.Dataset.from_tensor_slices(examples(5)), Crash()
    with pytest.warns(UserWarning, match="fewer examples than one batch" if batched else "only 5 examples"):
        run(autoencoder(), dataset.batch(8) if batched else dataset, callbacks=[steps])
    assert steps.steps == 3


@tensorflow_only
@pytest.mark.parametrize(
    "end", [lambda d: d.repeat(), lambda d: d.filter(lambda x: True)], ids=["endless", "unknown"]
)
def test_data_without_a_known_length_are_refused(end):
    import tensorflow as tf

    with pytest.raises(ValueError, match=r"does not say how many examples.*take\(n\)"):
        run(autoencoder(), end(tf.data.Dataset.from_tensor_slices(examples())))


@pytest.mark.parametrize(
    "x, words",
    [
        (examples(0), "empty"),
        (examples()[:, :5], "the model reads"),
        (np.where(examples() > 0.99, np.nan, examples()), "NaN"),
        (np.array([["a"] * 8]), "text"),
        ("digits", "not understood"),
    ],
    ids=["empty", "shape", "NaN", "text", "name"],
)
def test_bad_data_are_refused_before_any_step(x, words, tmp_path):
    steps = Crash()
    with pytest.raises(ValueError, match=words):
        run(autoencoder(), x, callbacks=[steps], save_to=tmp_path / "new" / "a.weights.h5")
    assert steps.steps == 0


@pytest.mark.parametrize(
    "more, words",
    [
        ({"epochs": 0}, "epochs"),
        ({"epochs": 1.5}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": True}, "batch_size"),
        ({"resume": True}, "save_to"),
        ({"save_to": "a.h5"}, r"\.weights\.h5"),
    ],
)
def test_bad_arguments(more, words):
    with pytest.raises(ValueError, match=words):
        run(autoencoder(), examples(), **more)


def test_numbers_of_numpy_are_numbers(tmp_path):
    path = tmp_path / "a.weights.h5"
    history = run(autoencoder(), examples(), epochs=np.int64(1), batch_size=np.int32(8), save_to=path)
    assert len(history.history["loss"]) == 1


def test_something_else_than_an_objective_is_refused():
    with pytest.raises(ValueError, match=r"takes an objective.*Functional"):
        run(backbones.mlp((8,), units=(4,)), examples())


# The file


def test_saved_file_loads_both_ways(tmp_path):
    objective, path = autoencoder(), tmp_path / "new" / "encoder.weights.h5"
    history = run(objective, examples(), save_to=path)
    assert same(weights.load_backbone(path), objective.backbone)
    plain = backbones.mlp((8,), units=(4,))
    assert not same(plain, objective.backbone)
    plain.load_weights(path)
    assert same(plain, objective.backbone)
    description = weights.describe(path)
    assert description.objective["name"] == "Autoencoder" and description.objective["config"]["noise"] == 0.2
    assert description.history["loss"] == pytest.approx(history.history["loss"])
    assert description.seed == 0 and description.preprocessing["input_shape"] == [8]
    assert [p.name for p in path.parent.iterdir()] == ["encoder.weights.h5"]  # no checkpoint is left


def test_unwritable_place_is_found_before_any_step(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    objective, steps = autoencoder(), Crash()
    with pytest.raises(OSError):
        run(objective, examples(), save_to=tmp_path / "file" / "a.weights.h5", callbacks=[steps])
    assert steps.steps == 0 and (tmp_path / "file").read_text() == "not a folder"


def test_a_loss_that_is_not_finite_stops_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.weights.h5"
    run(autoencoder(), examples(), save_to=path)
    before, diverging, steps = path.read_bytes(), autoencoder(units=(4, 4)), Crash()
    diverging.compile(keras.optimizers.SGD(1e20))
    with pytest.raises(ValueError, match=r"The loss is (nan|inf).*Lower the learning rate"):
        run(diverging, examples(), save_to=path, callbacks=[steps])
    assert path.read_bytes() == before and steps.steps <= 5


def test_a_crash_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.weights.h5"
    run(autoencoder(), examples(), save_to=path)
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="power"):
        run(autoencoder(seed=1), examples(), save_to=path, callbacks=[Crash(at=7)])
    assert path.read_bytes() == before


# Going on


@functools.cache
def uninterrupted():
    whole = autoencoder()
    return whole, run(whole, examples(43)).history["loss"]


@pytest.mark.compute
@pytest.mark.parametrize("at", [3, 6, 15])  # two steps into an epoch of five, between epochs, at the end
def test_a_resumed_run_is_the_uninterrupted_one(always_saving, tmp_path, at):
    path, x = tmp_path / "a.weights.h5", examples(43)
    whole, expected = uninterrupted()
    with pytest.raises(RuntimeError):
        run(autoencoder(), x, save_to=path, callbacks=[Crash(at)])
    assert [p.name for p in tmp_path.iterdir()] == ["a.checkpoint.weights.h5"]
    again, steps = autoencoder(seed=3), Crash()
    history = run(again, x, save_to=path, resume=True, callbacks=[steps])
    assert steps.steps == 15 - (at - 1)
    assert same(whole, again)
    assert len(history.history["loss"]) == 3 and history.epoch == [0, 1, 2]
    kept = [
        i for i in range(3) if at % 5 == 1 or i != (at - 1) // 5
    ]  # that of a cut epoch is that of its rest
    assert np.array_equal(np.array(history.history["loss"])[kept], np.array(expected)[kept])
    assert [p.name for p in tmp_path.iterdir()] == ["a.weights.h5"]


def test_moving_statistics_and_dropout_go_on(always_saving, tmp_path):

    def objective():
        keras.utils.set_random_seed(0)
        parts = [keras.layers.Dense(6), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)]
        return objectives.Autoencoder(keras.Sequential([keras.Input((8,)), *parts]))

    path, whole, again = tmp_path / "a.weights.h5", objective(), objective()
    run(whole, examples(), epochs=2)
    with pytest.raises(RuntimeError):
        run(objective(), examples(), epochs=2, save_to=path, callbacks=[Crash(6)])
    run(again, examples(), epochs=2, save_to=path, resume=True)
    assert same(whole, again)


@tensorflow_only
def test_tf_data_goes_on_at_its_place(always_saving, tmp_path):
    import tensorflow as tf

    path, source = tmp_path / "a.weights.h5", tf.data.Dataset.from_tensor_slices(examples())
    whole, again = autoencoder(), autoencoder()
    run(whole, source)
    with pytest.raises(RuntimeError):
        run(autoencoder(), source, save_to=path, callbacks=[Crash(8)])
    run(again, source, save_to=path, resume=True)
    assert same(whole, again)


def test_after_kill_9(tmp_path):
    path = tmp_path / "a.weights.h5"
    script = f"""
        import os, signal
        from tests.test_pretraining import Checkpoint, Crash, autoencoder, examples, run
        Checkpoint.__init__.__kwdefaults__["seconds"] = -1.0
        class Kill(Crash):
            def on_train_batch_end(self, batch, logs=None):
                self.steps += 1
                if self.steps == 8:
                    os.kill(os.getpid(), signal.SIGKILL)
        run(autoencoder(), examples(43), save_to={str(path)!r}, callbacks=[Kill()])
    """
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["a.checkpoint.weights.h5"]
    again, steps = autoencoder(), Crash()
    whole, _ = uninterrupted()
    run(again, examples(43), save_to=path, resume=True, callbacks=[steps])
    assert steps.steps == 15 - 7 and same(whole, again)


def test_a_backbone_that_cannot_be_saved_is_refused_before_any_step(tmp_path):
    objective, steps = autoencoder(), Crash()
    next(layer for layer in objective.backbone.layers if layer.weights).enable_lora(2)
    with pytest.raises(ValueError, match="must be merged"):
        run(objective, examples(), save_to=tmp_path / "a.weights.h5", callbacks=[steps])
    assert steps.steps == 0 and not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_backbone_that_cannot_be_rebuilt_is_told_of_once_and_before_training(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            told.append(len(caught))

    parts = [keras.layers.Dense(4), keras.layers.Lambda(lambda x: x)]
    objective = objectives.Autoencoder(keras.Sequential([keras.Input((8,)), *parts]))
    told = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(objective, examples(), epochs=1, save_to=tmp_path / "a.weights.h5", callbacks=[Stop()])
    messages = ["cannot rebuild" in str(warning.message) for warning in caught]
    assert sum(messages) == 1 and messages.index(True) < told[0]
    assert (tmp_path / "a.weights.h5").exists()


def test_a_run_that_was_cut_after_its_last_step_is_only_saved(always_saving, tmp_path, monkeypatch):
    path, first, second, steps = tmp_path / "a.weights.h5", autoencoder(), autoencoder(seed=1), Crash()
    with monkeypatch.context() as patch:
        patch.setattr(weights, "save_backbone", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(first, examples(), save_to=path)
    history = run(second, examples(), save_to=path, resume=True, callbacks=[steps])
    assert steps.steps == 0 and same(first, second) and len(history.history["loss"]) == 3
    assert path.exists()


def test_resume_without_a_checkpoint_starts(tmp_path):
    first, second = autoencoder(), autoencoder()
    run(first, examples())
    run(second, examples(), save_to=tmp_path / "a.weights.h5", resume=True)
    assert same(first, second)


def test_other_settings_are_refused(always_saving, tmp_path):
    path = tmp_path / "a.weights.h5"
    with pytest.raises(RuntimeError):
        run(autoencoder(), examples(), save_to=path, callbacks=[Crash(7)])
    going_on = {"save_to": path, "resume": True}
    for more, words in (
        ({"epochs": 4}, "epochs was 3, now 4"),
        ({"batch_size": 4}, "batch_size was 8, now 4"),
        ({"seed": 1}, "seed was 0, now 1"),
    ):
        with pytest.raises(ValueError, match=words):
            run(autoencoder(), examples(), **going_on, **more)
    with pytest.raises(ValueError, match=r"noise was 0\.2, now 0\.5"):
        run(autoencoder(noise=0.5), examples(), **going_on)
    with pytest.raises(ValueError, match="another model"):
        run(autoencoder(units=(4, 4)), examples(), **going_on)
    other = autoencoder()
    other.compile("sgd")
    with pytest.raises(ValueError, match="optimizer was 'LeanAdamW', now 'SGD'"):
        run(other, examples(), **going_on)
    assert (tmp_path / "a.checkpoint.weights.h5").exists()
    run(autoencoder(), examples(), **going_on)


# What is watched


def test_probe(tmp_path):
    x = examples()
    y = (x[:, 0] > 0.5).astype(int)
    history = run(autoencoder(), x, probe_data=(x, y), save_to=tmp_path / "a.weights.h5").history
    assert len(history["probe_accuracy"]) == len(history["knn_accuracy"]) == 3
    assert all(0 <= v <= 1 for v in history["probe_accuracy"] + history["knn_accuracy"])
    one_hot = run(autoencoder(), x, probe_data=(x, np.eye(2)[y])).history
    assert one_hot["probe_accuracy"] == history["probe_accuracy"]


def test_probing_changes_nothing():
    first, second, x = autoencoder(), autoencoder(), examples()
    run(first, x)
    run(second, x, probe_data=(x, np.arange(40) % 2))
    assert same(first, second)


@pytest.mark.parametrize(
    "probe_data, words",
    [
        (examples(), "must be labelled"),
        ((examples(), None), "must be labelled"),
        ((examples(), np.zeros(40, int)), "two classes"),
        ((examples(), [0] * 37 + [1] * 3), "four examples each"),
        ((examples()[:, :5], np.arange(40) % 2), "probe_data has examples of shape"),
        ((examples(), np.arange(30) % 2), "lengths"),
        ((examples(), np.linspace(0, 1, 40)), "one class per example"),
    ],
    ids=["x", "None", "one class", "three", "shape", "length", "values"],
)
def test_bad_probe_data_are_refused_before_any_step(probe_data, words):
    steps = Crash()
    with pytest.raises(ValueError, match=words):
        run(autoencoder(), examples(), probe_data=probe_data, callbacks=[steps])
    assert steps.steps == 0


def test_collapse_is_told_after_saving(tmp_path, recwarn):
    path = tmp_path / "a.weights.h5"
    run(autoencoder(noise=0.0), np.full((40, 8), 0.5, "float32"), save_to=path)
    assert sum("features have collapsed" in str(w.message) for w in recwarn) == 1
    assert path.exists()
    run(autoencoder(), examples(), epochs=1)
    assert sum("features have collapsed" in str(w.message) for w in recwarn) == 1


def test_a_collapse_that_was_watched_is_told_once(recwarn):
    run(autoencoder(noise=0.0), np.full((40, 8), 0.5, "float32"), health="warn")
    assert sum("features have collapsed" in str(w.message) for w in recwarn) == 1


@tensorflow_only
def test_replicas_need_the_scope_for_building_only(tmp_path):
    with placement.strategy("mirrored", verbose=False).scope():
        objective = autoencoder()
    run(objective, examples(16), epochs=1, save_to=tmp_path / "a.weights.h5")
    assert same(weights.load_backbone(tmp_path / "a.weights.h5"), objective.backbone)
