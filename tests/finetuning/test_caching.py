"""Features kept on disk, in a folder of the user's, or as several draws, train what the slow way trains."""

import dataclasses
import errno
import tempfile

import keras
import numpy as np
import pytest

from tftransfer import data as data_module
from tftransfer.finetuning import caching, features, finetune, shards, streams
from tftransfer.finetuning.caching import Caching
from tftransfer.finetuning.freezing import apply_stage
from tftransfer.policies import Stage, gradual, linear_probe
from tftransfer.tasks import Classifier

from .test_features import Slow, probed
from .test_prefix import residual

PROBE = linear_probe(3, learning_rate=1e-2)
TOP = Stage("top", {"^backbone/(stem|one)": 0.0, ".*": 1.0}, epochs=3, learning_rate=1e-3)


@pytest.fixture
def counted(monkeypatch):
    """Counts the batches that go through frozen parts."""
    plain, count = features.Embedder.predict_on_batch, []
    monkeypatch.setattr(
        features.Embedder, "predict_on_batch", lambda self, x: (count.append(1), plain(self, x))[1]
    )
    return count


def trained(make, data, validation=None, policy=PROBE, **options):
    keras.utils.set_random_seed(3)
    task = make()
    options = {"batch_size": 8, "verbose": 0, "optimizer": keras.optimizers.SGD(momentum=0.9)} | options
    history = finetune(task, data, validation_data=validation, policy=policy, **options)
    return task.get_weights(), history.history


def same(one, other, **tolerance):
    for mine, theirs in zip(one[0], other[0], strict=True):
        np.testing.assert_allclose(mine, theirs, **({"rtol": 0, "atol": 0} | tolerance))
    for name, values in one[1].items():
        np.testing.assert_allclose(values, other[1][name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    "policy", [pytest.param(PROBE, marks=pytest.mark.thorough), TOP], ids=["probe", "top"]
)
def test_from_disk_the_same_weights_bit_for_bit(data, validation, policy, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 500)
    monkeypatch.setattr(streams, "CHUNK", 200)  # several parts an epoch
    make = lambda kind=Classifier: kind(residual(), num_classes=3)  # noqa: E731
    memory = trained(make, data, validation, policy, cache="memory")
    same(trained(make, data, validation, policy, cache="disk"), memory)
    same(trained(lambda: make(Slow), data, validation, policy), memory, atol=1e-6)
    half = trained(make, data, validation, policy, cache="disk", cache_dtype="float16")
    for one, other in zip(half[0], memory[0], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


@pytest.mark.thorough
def test_gradual_unfreezing_from_disk(data, validation):
    make = lambda kind: lambda: kind(residual(), num_classes=3)  # noqa: E731
    policy = gradual(3, epochs=1, learning_rate=1e-3)
    disk = trained(make(Classifier), data, validation, policy, cache="disk")
    same(disk, trained(make(Classifier), data, validation, policy))
    same(disk, trained(make(Slow), data, validation, policy), atol=1e-6)


def test_temporary_files_are_removed(data, validation, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = []
    see = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: found.extend(tmp_path.rglob("*.npy")))
    make = lambda: Classifier(residual(), num_classes=3)  # noqa: E731
    trained(make, data, validation, cache="disk", callbacks=[see])
    assert found and not list(tmp_path.glob("features-*"))

    def stop(logs):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopping = keras.callbacks.LambdaCallback(on_train_begin=stop)
        trained(make, data, cache="disk", callbacks=[stopping])
    assert not list(tmp_path.glob("features-*"))


def test_a_folder_is_taken_up_again_until_something_changes(data, validation, tmp_path, counted):
    make = lambda: Classifier(residual(), num_classes=3)  # noqa: E731

    def run(data=data, make=make, **options):
        counted.clear()
        result = trained(make, data, validation, cache=tmp_path / "kept", **options)
        return result, len(counted)

    first, batches = run()
    assert batches == 5  # of 8: three and two
    again, batches = run()
    assert batches == 0
    same(again, first)
    assert run(policy=linear_probe(1, learning_rate=1e-3), seed=4)[1] == 0  # not of the features' concern
    x = data[0].copy()
    x[0, 0, 0, 0] += 1e-3
    assert run(data=(x, data[1]))[1] == 3  # the validation data are the same

    def other():
        task = make()
        kernel = task.backbone.get_layer("stem").kernel
        kernel.assign(kernel + 1e-4)
        return task

    assert run(make=other)[1] == 5
    assert run(cache_dtype="float16")[1] == 5
    assert run(policy=TOP)[1] == 5
    assert run()[1] == run(policy=TOP)[1] == 0
    assert not list((tmp_path / "kept").glob("*partial*"))


def test_preprocessing_counts(tmp_path, counted):
    x, y = np.random.default_rng(0).integers(0, 255, (16, 6, 6, 1)).astype("uint8"), np.arange(16) % 3

    def make(rescale):
        backbone = residual()
        if rescale:
            inputs = keras.Input((6, 6, 1))
            backbone = keras.Model(inputs, backbone(keras.layers.Rescaling(1 / 255)(inputs)))
        return Classifier(backbone, num_classes=3)

    for rescale in (False, True):
        counted.clear()
        trained(lambda rescale=rescale: make(rescale), (x, y), cache=tmp_path)
        assert len(counted) == 2


@pytest.mark.parametrize("harm", ["cut", "index"])
def test_a_set_of_files_that_is_not_whole_is_made_anew(data, tmp_path, harm, counted, capsys):
    make = lambda: Classifier(residual(), num_classes=3)  # noqa: E731
    first = trained(make, data, cache=tmp_path)
    (folder,) = tmp_path.iterdir()
    if harm == "cut":
        (folder / "00000.npy").write_bytes((folder / "00000.npy").read_bytes()[:-1])
    else:
        (folder / shards.INDEX).unlink()
    counted.clear()
    same(trained(make, data, cache=tmp_path, verbose=2), first)
    assert len(counted) == 3 and "computed anew" in capsys.readouterr().out


def test_a_disk_that_is_full_is_an_error_before_training(data, tmp_path, monkeypatch):
    make = lambda: Classifier(residual(), num_classes=3)  # noqa: E731

    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shards, "atomic_write", full)
        with pytest.raises(OSError, match="Nothing was left there") as raised:
            trained(make, data, cache=tmp_path)
    assert raised.value.errno == errno.ENOSPC and not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="could not be kept"):
        trained(make, data, cache=tmp_path / "file")
    usage = caching.shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(caching.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match="10 bytes are free"):
        trained(make, data, cache=tmp_path)


def test_auto_goes_by_what_is_free(data, make_task, monkeypatch):
    task = make_task()
    apply_stage(PROBE.stages[0], task)
    kept = Caching()
    assert features.frozen_half(task, data, 100, kept).before and not kept.on_disk
    monkeypatch.setattr(caching, "free_memory", lambda: 100)
    assert features.frozen_half(task, data, 100, kept).before and kept.on_disk
    half = features.frozen_half(task, data, 10**13, kept)
    assert not half.before and "too much for the memory" in half.reason
    monkeypatch.setattr(caching, "LARGER", 0)
    half = features.frozen_half(task, data, 100, kept)
    assert not half.before and "much more than the examples" in half.reason
    assert features.frozen_half(task, data, 100, Caching(False)).reason == "cache=False"


def test_reasons(make_task, data, capsys):
    def reason(task, **options):
        return features.frozen_half(task, data, 50, Caching(**options)).reason

    task = probed(make_task)
    assert reason(task) is None
    task.augmentation = keras.layers.RandomFlip()
    assert reason(task) == "examples are augmented" and reason(task, draws=2) is None
    task = probed(make_task, backbone_dropout=0.5)
    assert "dropout draws random numbers" in reason(task) and reason(task, draws=2) is None
    task = probed(make_task)
    task.backbone.get_layer("norm_01").trainable = True
    assert reason(task) == reason(task, draws=2) == "the BatchNormalization norm_01 is live"
    assert features.frozen_half(task, data, 50, Caching()).before  # up to there
    finetune(make_task(augmentation=keras.layers.RandomFlip()), data, policy=linear_probe(1), verbose=2)
    assert "examples are augmented" in capsys.readouterr().out


class Shift(keras.layers.Layer):
    """Makes each example darker by a random factor of its own."""

    def __init__(self):
        super().__init__()
        self.seeds = keras.random.SeedGenerator(1)

    def call(self, x, training=None):
        if not training:
            return x
        return x * keras.random.uniform((keras.ops.shape(x)[0], 1, 1, 1), seed=self.seeds)


@pytest.mark.parametrize(
    ("where", "stage"),
    [
        ("memory", PROBE),
        ("disk", TOP),
        pytest.param("memory", TOP, marks=pytest.mark.thorough),
        pytest.param("disk", PROBE, marks=pytest.mark.thorough),
    ],
    ids=["memory-probe", "disk-top", "memory-top", "disk-probe"],
)
def test_draws_take_turns(data, validation, where, stage, monkeypatch, counted):
    """Training on K draws is training, epoch by epoch, on examples that were augmented beforehand."""
    shift, seen = Shift(), []
    plain = Caching._make

    def make(self, embedder, *args, **options):
        made = plain(self, embedder, *args, **options)
        seen.append(np.array(made.rows[:]))
        return made

    monkeypatch.setattr(Caching, "_make", make)
    start = keras.ops.convert_to_numpy(shift.seeds.state).copy()
    task = lambda augmentation=None: Classifier(residual(), num_classes=3, augmentation=augmentation)  # noqa: E731
    options = {"policy": stage, "cache": where, "augmentation_draws": 2}
    one = trained(lambda: task(shift), data, validation, **options)
    assert len(counted) == 2 * 3 + 2
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(shift.seeds.state), start)
    draws, validated = seen
    assert len(draws) == 44 and len(validated) == 15
    assert np.abs(draws[:22] - draws[22:]).max() > 1e-3
    seen.clear()
    same(trained(lambda: task(shift), data, validation, **options), one)
    np.testing.assert_array_equal(seen[0], draws)

    shifted = features.Embedder([shift], drawn=True)
    with features._seeded(shifted) as seeded:
        seeded(0, 0)
        x = np.concatenate([shifted.predict_on_batch(data[0][i : i + 8]) for i in (0, 8, 16)])
    once = dataclasses.replace(getattr(stage, "stages", [stage])[0], epochs=1)
    drawn = trained(lambda: task(shift), data, **options | {"policy": once})
    same(drawn, trained(task, (x, data[1]), policy=once), atol=1e-6)


@pytest.mark.compute
@pytest.mark.parametrize("whole", [False, True])
def test_epochs_read_one_draw_after_the_other_in_the_order_of_the_data(tmp_path, whole):
    rows = np.arange(20, dtype="float32")[:, None]
    for kept in (rows, shards.write_shards(tmp_path / "rows", [rows])):
        for start in (0, 1):
            source = streams.Features(kept, [np.arange(10)], draws=2)
            options = {"batch_size": 4, "seed": 5, "epoch_steps": 3, "steps": 3}
            made, steps = source.training(step=3 * start, whole=whole, **options)
            order = data_module.batches(
                np.arange(10), batch_size=10, shuffle=True, repeat=True, seed=5, start=start
            )
            made, order = (
                map(stream.__getitem__, range(99))
                if isinstance(stream, keras.utils.PyDataset)
                else iter(stream)
                for stream in (made, order)
            )
            for epoch in range(start, start + 3):
                x, y = [], []
                for _ in range(steps):
                    *places, values, labels = map(np.asarray, keras.tree.flatten(next(made)))
                    chosen = places[0] if whole else slice(None)
                    x.extend(values[chosen, 0])
                    y.extend(labels[chosen])
                expected = np.asarray(next(order))
                np.testing.assert_array_equal(y, expected)
                np.testing.assert_array_equal(x, expected + 10 * (epoch % 2))
