"""The pieces of all workers are the batches of one process: every example once, in the same order."""

import keras
import numpy as np
import pytest

from tftransfer import data
from tftransfer.data.glance import glance

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="shares are tf.data's")


def shared(source, workers, here, **options):
    """Per step the rows of all replicas, in order: `workers` workers of `here` replicas each."""
    everyone = workers * here
    parts = []
    for worker in range(workers):
        share = (worker * here, (worker + 1) * here, everyone)
        pieces = [np.asarray(piece) for piece in data.batches(source, share=share, **options)]
        parts.append([pieces[step : step + here] for step in range(0, len(pieces), here)])
    return [[piece for part in step for piece in part] for step in zip(*parts, strict=True)]


def as_dataset(x):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(x)


@pytest.mark.parametrize("kind", ["array", "examples", "batches"])
@pytest.mark.parametrize("workers, here", [(2, 1), (2, 2), (3, 1)])
@pytest.mark.parametrize("drop", [False, True])
def test_workers_read_what_one_process_reads(kind, workers, here, drop):
    x = np.arange(27, dtype="int64")[:, None]
    source = {"array": x, "examples": as_dataset(x), "batches": as_dataset(x).batch(8)}[kind]
    options = {"batch_size": 8, "shuffle": True, "seed": 3, "drop_remainder": drop, "input_shape": (1,)}
    whole = [np.asarray(batch) for batch in data.batches(source, **options)]
    steps = shared(source, workers, here, **options)
    assert len(steps) == len(whole) == (3 if drop else 4)
    for pieces, batch in zip(steps, whole, strict=True):
        np.testing.assert_array_equal(np.concatenate(pieces), batch)
    everything = np.sort(np.concatenate(whole).ravel())
    assert len(np.unique(everything)) == len(everything) == (24 if drop else 27)


def test_a_run_may_go_on_at_any_step():
    x = np.arange(24, dtype="int64")[:, None]
    options = {"batch_size": 8, "shuffle": True, "repeat": True, "share": (1, 2, 2), "input_shape": (1,)}
    for source in (x, as_dataset(x)):
        all_steps = [p.tolist() for p in data.batches(source, **options).take(9).as_numpy_iterator()]
        later = data.batches(source, start=4, **options).take(5).as_numpy_iterator()
        assert [p.tolist() for p in later] == all_steps[4:]


def test_shapes_are_static_where_pieces_are_alike():
    x = np.zeros((24, 3), "float32")
    for source in (x, as_dataset(x)):
        options = {"batch_size": 8, "drop_remainder": True, "input_shape": (3,)}
        assert data.batches(source, share=(0, 1, 2), **options).element_spec.shape == (4, 3)
        assert data.batches(source, share=(0, 1, 3), **options).element_spec.shape == (None, 3)


def own_share(x):
    import tensorflow as tf

    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return as_dataset(x).with_options(options)


def test_a_share_of_ones_own_is_read_whole():
    x = np.arange(24, dtype="int64")[:, None]
    options = {"batch_size": 8, "drop_remainder": True, "input_shape": (1,)}
    read = []
    for worker in range(2):
        source, share = own_share(x[worker::2]), (worker, worker + 1, 2)
        assert data.steps_per_epoch(source, share=share, **options) == 3
        read += [piece for piece in data.batches(source, share=share, **options).as_numpy_iterator()]
    assert all(len(piece) == 4 for piece in read)
    assert sorted(np.concatenate(read).ravel()) == list(range(24))
    with pytest.raises(ValueError, match="must divide by 3"):
        data.batches(own_share(x), batch_size=8, share=(0, 1, 3), input_shape=(1,))
    with pytest.raises(ValueError, match="Hand over examples"):
        data.batches(own_share(x).batch(4), batch_size=8, share=(0, 1, 2), input_shape=(1,))


def test_a_shuffle_buffer_takes_bounded_memory(monkeypatch):
    import tensorflow as tf

    from tftransfer.data import dataset_batches

    sizes, shuffle = [], tf.data.Dataset.shuffle
    monkeypatch.setattr(tf.data.Dataset, "shuffle", lambda d, n, **o: sizes.append(n) or shuffle(d, n, **o))
    monkeypatch.setattr(dataset_batches, "_BUFFER_BYTES", 80)
    data.batches(as_dataset(np.zeros((27, 5), "float32")), batch_size=4, shuffle=True, input_shape=(5,))
    assert sizes == [4]


def test_a_glance_tells_data_apart():
    x, y = np.random.default_rng(0).random((50, 4)), np.arange(50)
    other = x.copy()
    other[30] += 1
    texts = {glance(each) for each in (x, other, x[:40], x.astype("float32"), (x, y), (x, y + 1), {"a": x})}
    assert len(texts) == 6 + (glance({"a": x}) != glance(x))
    assert glance((x, y)) == glance((x.copy(), y.copy()))
    assert glance(as_dataset(x)) == glance(as_dataset(x.copy())) != glance(as_dataset(other[30:]))
    assert "a share" in glance(own_share(x)) and glance(own_share(x)) == glance(own_share(other))
