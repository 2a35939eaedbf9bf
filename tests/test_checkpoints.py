import errno
import json

import h5py
import keras
import numpy as np
import pytest

from tftransfer import backbones, objectives
from tftransfer.checkpoints import STATE, Checkpoint, restore
from tftransfer.weights import seal, variable_paths

PRINT = {"seed": 0, "epochs": 3}


def pictures(n=32):
    return np.random.default_rng(0).random((n, 8, 8, 1), dtype="float32")


def compiled(seed=0, filters=(4, 8), cls=objectives.SimCLR):
    keras.utils.set_random_seed(seed)
    objective = cls(backbones.cnn((8, 8, 1), filters=filters))
    objective.compile(keras.optimizers.Adam(1e-2))
    objective.optimizer.build(objective.trainable_variables)
    return objective


def quick(**options):
    """An objective that costs little to trace."""
    objective = objectives.Autoencoder(backbones.mlp((8, 8, 1), units=(4,)))
    objective.compile("adam", **options)
    return objective


def checkpoint(folder, **more):
    return Checkpoint(
        folder / "a.checkpoint.weights.h5", **{"fingerprint": PRINT, "steps_per_epoch": 4, **more}
    )


def state(model):
    """Every number that training depends on: weights, slots of the optimizer, random state."""
    variables = [*model.weights, *model.optimizer.variables, *model.non_trainable_variables]
    return [keras.ops.convert_to_numpy(v) for v in variables]


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(state(first), state(second), strict=True))


@pytest.mark.compute
def test_everything_is_put_back(tmp_path):
    model, x = compiled(), pictures()
    watcher = checkpoint(tmp_path, seconds=-1.0)
    model.fit(x, batch_size=8, epochs=2, shuffle=False, callbacks=[watcher], verbose=0)
    other = compiled(seed=1)  # a second model of this process: Keras gives its layers other numbers
    step, history = restore(other, watcher.path, fingerprint=PRINT)
    assert step == 8 and len(history["loss"]) == 2
    assert same(model, other)
    for continued in (model, other):
        continued.fit(x, batch_size=8, shuffle=False, verbose=0)
    assert same(model, other)  # the next views were drawn alike: the random state was put back too


def test_a_step_within_an_epoch_is_known(tmp_path):
    watcher = checkpoint(tmp_path, seconds=-1.0)
    saved = []
    watcher.save = lambda: saved.append(watcher.step)
    quick().fit(pictures(), batch_size=8, epochs=2, shuffle=False, callbacks=[watcher], verbose=0)
    assert saved == [1, 2, 3, 4, 5, 6, 7, 8]


def test_steps_per_execution_counts_steps(tmp_path):
    watcher = checkpoint(tmp_path, seconds=-1.0)
    saved = []
    watcher.save = lambda: saved.append(watcher.step)
    model = quick(steps_per_execution=2)
    model.fit(pictures(), batch_size=8, epochs=2, shuffle=False, callbacks=[watcher], verbose=0)
    assert saved == [2, 4, 6, 8]


def test_not_more_often_than_asked(tmp_path):
    watcher = checkpoint(tmp_path, seconds=3600.0)
    saved = []
    watcher.save = lambda: saved.append(watcher.step)
    quick().fit(pictures(), batch_size=8, epochs=3, shuffle=False, callbacks=[watcher], verbose=0)
    assert saved == [4]  # the end of the first epoch, to find out early what cannot be written


def test_weights_that_are_lost_are_not_kept(tmp_path):
    watcher = checkpoint(tmp_path, seconds=-1.0)
    watcher.set_model(compiled())
    watcher.on_epoch_begin(0)
    watcher.on_train_batch_end(0, {"loss": float("nan")})
    assert not watcher.path.exists()


def test_resume_without_a_file_starts(tmp_path):
    said = []
    assert checkpoint(tmp_path).resume(compiled(), said.append) == (0, {})
    assert "Nothing to resume" in said[0]


def test_resume_says_where_it_is(tmp_path):
    model, watcher, said = compiled(), checkpoint(tmp_path), []
    watcher.set_model(model)
    watcher.step, watcher.past = 6, {"loss": [1.5]}
    watcher.save()
    again = checkpoint(tmp_path)
    step, history = again.resume(model, said.append)
    assert (step, history) == (6, {"loss": [1.5]}) and "1 epochs and 2 steps of 4" in said[0]
    history["loss"].append(0.0)
    assert again.past == {"loss": [1.5]}  # the caller's list is its own
    again.delete()
    again.delete()
    assert not again.path.exists()


@pytest.fixture
def saved(tmp_path):
    watcher = checkpoint(tmp_path)
    watcher.set_model(compiled())
    watcher.save()
    return watcher.path


def test_another_fingerprint_is_refused(saved):
    with pytest.raises(ValueError, match="epochs was 3, now 4"):
        restore(compiled(), saved, fingerprint={**PRINT, "epochs": 4})


@pytest.mark.parametrize(
    "more", [{"filters": (4, 8, 8)}, {"cls": objectives.Autoencoder}], ids=["deeper", "objective"]
)
def test_another_model_is_refused_and_unchanged(saved, more):
    other = compiled(**more)
    before = [v.numpy() for v in other.weights]
    with pytest.raises(ValueError, match="another model"):
        restore(other, saved, fingerprint=PRINT)
    assert all(np.array_equal(a, v.numpy()) for a, v in zip(before, other.weights, strict=True))


def test_other_shapes_are_refused(saved):
    with pytest.raises(ValueError, match="another model"):
        restore(compiled(filters=(4, 6)), saved, fingerprint=PRINT)


def test_other_files_are_refused(tmp_path, saved):
    model = compiled()
    model.save_weights(tmp_path / "plain.weights.h5")
    with pytest.raises(ValueError, match="not a checkpoint"):
        restore(model, tmp_path / "plain.weights.h5", fingerprint=PRINT)
    with pytest.raises(FileNotFoundError):
        restore(model, tmp_path / "missing.weights.h5", fingerprint=PRINT)


def test_damage_is_noticed(saved):
    model, whole = compiled(), saved.read_bytes()
    before = state(model)
    for place in (3000, len(whole) // 2, len(whole) - 1):
        saved.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ValueError, match="damaged"):
            restore(model, saved, fingerprint=PRINT)
    for length in (0, 1000, len(whole) // 2, len(whole) - 48, len(whole) - 1):
        saved.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"damaged|truncated|empty"):
            restore(model, saved, fingerprint=PRINT)
    assert all(np.array_equal(a, b) for a, b in zip(before, state(model), strict=True))
    saved.write_bytes(whole)
    assert restore(model, saved, fingerprint=PRINT) == (0, {})


def test_a_full_disk_leaves_the_old_one(saved, monkeypatch):
    def full(path, size):
        assert size > saved.stat().st_size
        raise OSError(errno.ENOSPC, "No space left on device")

    before = saved.read_bytes()
    watcher = Checkpoint(saved, fingerprint=PRINT, steps_per_epoch=4)
    watcher.set_model(compiled(seed=5))
    monkeypatch.setattr(seal, "reserve", full)
    with pytest.raises(OSError, match="No space left") as raised:
        watcher.save()
    assert str(saved) in str(raised.value) and saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_the_old_file_stays_until_the_new_one_is_whole(saved, monkeypatch):
    before = saved.read_bytes()
    watcher = Checkpoint(saved, fingerprint=PRINT, steps_per_epoch=4)
    watcher.set_model(compiled(seed=5))
    monkeypatch.setattr(json, "dumps", lambda *_: 1 / 0)  # fails after the weights were written
    with pytest.raises(ZeroDivisionError):
        watcher.save()
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_the_file_says_what_it_is(saved):
    with h5py.File(saved) as file:
        content = json.loads(file.attrs[STATE])
    assert content["fingerprint"] == PRINT and content["step"] == 0
    assert [name for name, _ in content["variables"]] == [
        p.split("/")[-1] for p in variable_paths(compiled())
    ]
    assert len(content["random"]) >= 1
