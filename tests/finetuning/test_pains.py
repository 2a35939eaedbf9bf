"""What users of Keras suffered from when they fine-tuned, each under the number of its report."""

import keras
import numpy as np
import pytest

import tftransfer as tt
from tests.finetuning.conftest import pictures, small_backbone
from tftransfer.finetuning import features, finetune, load_adapters, lr_find, save_adapters, variable_paths
from tftransfer.policies import Stage, full, layer_decay, linear_probe, lora


def values(task):
    return {path: np.array(keras.ops.convert_to_numpy(v)) for path, v in variable_paths(task).items()}


def slots_of(task):
    return [np.array(keras.ops.convert_to_numpy(v)) for v in task.optimizer.variables]


def moved(before, task):
    after = values(task)
    return {path for path in before if (before[path] != after[path]).any()}


def nested():
    """A model in a model in a model, with shared names inside."""
    inner = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Conv2D(4, 3, name="conv")], name="inner")
    middle = keras.Sequential([keras.Input((6, 6, 1)), inner, keras.layers.ReLU()], name="middle")
    return keras.Sequential([keras.Input((6, 6, 1)), middle, keras.layers.Conv2D(5, 2, name="conv")])


def test_keras_9965_9522_6570_4762_11590_statistics_of_a_frozen_backbone_stay(make_task, data):
    """A backbone that does not train runs in inference mode, in `fit` as in `predict`."""
    task = make_task()
    before, embedded = values(task), np.asarray(task.embed(data[0], training=False))
    history = finetune(task, data, policy=linear_probe(2), callbacks=[keras.callbacks.Callback()], verbose=0)
    assert moved(before, task) == {"head/kernel", "head/bias"}
    assert history.stages[0]["batch_norm_frozen"] == 2 and history.stages[0]["batch_norm_live"] == 0
    np.testing.assert_array_equal(np.asarray(task.embed(data[0], training=False)), embedded)


def test_keras_3268_13368_16234_15893_flags_set_after_compile_are_not_stale(make_task, data):
    """Keras goes on training what was frozen after `compile` and a first `fit`, and the other way round."""
    task = make_task()
    task.backbone.trainable = False
    task.compile("adam", task.default_loss())
    task.fit(*data, verbose=0)
    before = values(task)
    finetune(task, data, policy=full(1, learning_rate=1e-2), verbose=0)
    assert moved(before, task) == set(before)
    before = values(task)
    finetune(task, data, policy=linear_probe(1), verbose=0)
    assert moved(before, task) == {"head/kernel", "head/bias"}


def test_keras_9477_epochs_and_callbacks_go_on_over_stages(make_task, data):
    class Heard(keras.callbacks.Callback):
        epochs = []

        def on_epoch_begin(self, epoch, logs=None):
            self.epochs.append(epoch)

    history = finetune(
        make_task(), data, policy=linear_probe(2) + full(2), callbacks=[heard := Heard()], verbose=0
    )
    assert heard.epochs == history.epoch == [0, 1, 2, 3] and len(history.history["loss"]) == 4


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "adamw"])
def test_keras_414_5920_7840_7912_9881_11934_a_rate_for_each_layer(make_task, data, optimizer):
    """The update is scaled: the gradient alone would change nothing under Adam."""
    steps = []
    for factor in (1.0, 0.25):
        task = make_task()
        before = values(task)
        stage = Stage("rates", {"conv_00": factor, ".*": 1.0}, epochs=1, learning_rate=1e-3)
        finetune(
            task, data, policy=stage, optimizer=keras.optimizers.get(optimizer), batch_size=22, verbose=0
        )
        steps.append({path: values(task)[path] - before[path] for path in before})
    for path in ("backbone/conv_00/kernel", "backbone/conv_01/kernel"):
        factor = 0.25 if "conv_00" in path else 1.0
        np.testing.assert_allclose(steps[1][path], factor * steps[0][path], rtol=1e-3, atol=1e-7)


def test_keras_21741_a_scheduler_keeps_the_ratios_of_several_rates(make_task, data):
    """Keras's own MultiOptimizer hears an absolute schedule once for each group, which makes all rates one."""
    task, rates = make_task(), []

    class Rates(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            rates.append(float(self.model.optimizer.learning_rate))

    before = values(task)
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: (1e-3, 5e-4)[epoch])
    policy = layer_decay(0.1, epochs=2, learning_rate=1e-2)
    adam = keras.optimizers.Adam()
    finetune(
        task, data, policy=policy, callbacks=[schedule, Rates()], optimizer=adam, batch_size=22, verbose=0
    )
    np.testing.assert_allclose(rates, [1e-3, 5e-4], rtol=1e-6)
    far = {path: np.abs(values(task)[path] - before[path]).max() for path in before}
    assert far["backbone/conv_00/kernel"] < 0.2 * far["head/kernel"]  # one rate would give as much


@pytest.mark.parametrize("backbone", [small_backbone, nested], ids=["sequential", "nested"])
def test_keras_2371_2640_8909_6229_15636_tf_22479_another_head(backbone, data):
    """`layers.pop()` does nothing, and a new head of the old name clashes."""
    x, _ = data
    task = tt.tasks.Classifier(backbone(), num_classes=3)
    finetune(task, data, policy=full(1), verbose=0)
    embedded = np.asarray(task.embed(x, training=False))
    assert task.swap_head(5).predict(x, verbose=0).shape == (len(x), 5) and task.head.name == "head"
    np.testing.assert_array_equal(np.asarray(task.embed(x, training=False)), embedded)
    before = values(task)
    finetune(task, (x, np.arange(len(x)) % 5), policy=full(1, learning_rate=1e-2), verbose=0)
    assert moved(before, task) == set(before)


def test_keras_16355_16123_20116_14245_tf_45437_features_through_nested_models(data):
    backbone = nested()
    task = tt.tasks.Classifier(backbone, num_classes=3)
    live = np.asarray(backbone(data[0])).mean(axis=(1, 2))
    np.testing.assert_allclose(np.asarray(task.embed(data[0])), live, atol=1e-6)
    assert [path for path in variable_paths(task) if path.endswith("kernel")] == [
        "backbone/middle/inner/conv/kernel",
        "backbone/conv/kernel",
        "head/kernel",
    ]
    before = values(task)
    stage = Stage("inside", {"^backbone/middle/": 1.0, ".*": 0.0}, epochs=1, learning_rate=1e-2)
    finetune(task, data, policy=stage, verbose=0)
    assert moved(before, task) == {f"backbone/middle/inner/conv/{name}" for name in ("kernel", "bias")}


@pytest.mark.parametrize("factor", [255.0, 1 / 255], ids=["missing", "twice"])
def test_tf_48412_43938_42506_keras_16081_rescaling_that_is_missing_or_done_twice(make_task, data, factor):
    findings = tt.diagnose(make_task(), (data[0] * factor, data[1])).findings
    assert [finding.check for finding in findings] == ["input range"]


def test_keras_22010_1872_19179_a_cut_run_goes_on_with_its_schedule_and_slots(make_task, data, tmp_path):
    class Steps(keras.callbacks.Callback):
        def __init__(self, cut=None):
            super().__init__()
            self.cut, self.seen = cut, []

        def on_epoch_end(self, epoch, logs=None):
            optimizer = self.model.optimizer
            slots = sum(float(np.abs(keras.ops.convert_to_numpy(v)).sum()) for v in optimizer.variables[2:])
            self.seen.append((epoch, int(optimizer.iterations), float(optimizer.learning_rate), slots))
            if epoch == self.cut:
                raise KeyboardInterrupt

    options = {"policy": full(3, learning_rate=1e-2), "batch_size": 8, "verbose": 0}
    whole, first, second = Steps(), Steps(cut=1), Steps()
    finetune(make_task(), data, callbacks=[whole], **options)
    with pytest.raises(KeyboardInterrupt):
        finetune(make_task(), data, callbacks=[first], resume=tmp_path / "run.h5", **options)
    finetune(make_task(), data, callbacks=[second], resume=tmp_path / "run.h5", **options)
    assert second.seen[-1] == whole.seen[-1] and second.seen[0][1] > 3


def test_keras_19208_19163_23244_peft_310_577_an_adapter_file_holds_the_head_too(data, tmp_path):
    def build():
        keras.utils.set_random_seed(7)
        backbone = tt.backbones.vit((6, 6, 1), patch_size=2, width=8, depth=1, num_heads=2)
        return tt.tasks.Classifier(backbone, num_classes=3)

    task, other = build(), build()
    base = values(task)
    finetune(task, data, policy=lora(2, epochs=1, learning_rate=1e-2), verbose=0)
    after = values(task)
    assert all((base[path] == after[path]).all() for path in base if not path.startswith("head/"))
    save_adapters(task, tmp_path / "task.adapters.h5")
    other.head.kernel.assign(np.zeros_like(base["head/kernel"]))
    load_adapters(other, tmp_path / "task.adapters.h5")
    np.testing.assert_array_equal(task.predict(data[0], verbose=0), other.predict(data[0], verbose=0))


def test_lightly_train_579_615_what_is_frozen_is_said(make_task, data, capsys):
    history = finetune(make_task(), data, policy=linear_probe(1) + full(1), verbose=2)
    counts = [(stage["trained"], stage["frozen"]) for stage in history.stages]
    total = make_task().count_params()
    assert counts[0][0] == 21 and sum(counts[0]) == sum(counts[1]) == total
    assert "trains 21 of" in capsys.readouterr().out


def test_deep_learning_models_21_keras_contrib_259_cached_features_are_the_live_ones(make_task):
    """In inference mode, and with each example's own label, whatever the size of the batches."""
    x, y = pictures(23)
    task = make_task()
    finetune(task, (x, y), policy=full(1, learning_rate=1e-2), verbose=0)  # statistics that are not 0 and 1
    task.backbone.trainable = False
    embedder, _ = features.helpers(task)
    cached, labels = features.embed(embedder, (x, y), batch_size=8)
    np.testing.assert_allclose(np.asarray(cached), np.asarray(task.embed(x, training=False)), atol=1e-6)
    np.testing.assert_array_equal(labels, y)


def test_keras_8891_keras_contrib_204_the_search_of_a_rate_changes_nothing(make_task, data):
    task = make_task()
    task.compile("adam", task.default_loss())
    task.fit(*data, verbose=0)
    before, slots = values(task), slots_of(task)
    rates = lr_find(task, data, steps=20, batch_size=8)
    assert rates.suggestion > 0 and not moved(before, task)
    assert all(np.array_equal(*pair) for pair in zip(slots, slots_of(task), strict=True))


@pytest.mark.parametrize(
    "labels", [np.arange(22) % 4, np.eye(4)[np.arange(22) % 4]], ids=["sparse", "one-hot"]
)
def test_keras_hub_2654_labels_that_the_head_has_no_place_for_are_refused_before_fit(make_task, data, labels):
    task = make_task()
    with pytest.raises(ValueError, match=r"labels from 0 to 3|4 columns|has 4|num_classes"):
        finetune(task, (data[0], labels), policy=full(1), verbose=0)
    assert not task.compiled
