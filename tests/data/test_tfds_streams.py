"""TFRecord and ArrayRecord read while they are trained on: every example once over the workers, in bounded memory."""

import json
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

from tftransfer import data
from tftransfer.data.shares import is_own_share

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TFDS and tf.data")

COUNT = 23


@pytest.fixture(scope="module", params=["tfrecord", "array_record"])
def prepared(request, tmp_path_factory):
    """The folder of a data set in several files whose examples are their numbers."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    folder = tmp_path_factory.mktemp(request.param)
    numbers = np.arange(COUNT)
    rows = {"image": np.repeat(numbers, 16).reshape(COUNT, 4, 4, 1).astype("uint8"), "label": numbers % 3}
    features = {"image": tfds.features.Tensor(shape=(4, 4, 1), dtype=np.uint8)}
    features |= {"label": tfds.features.ClassLabel(num_classes=3)}
    tfds.dataset_builders.TfDataBuilder(
        name="numbers",
        version="1.0.0",
        data_dir=str(folder),
        split_datasets={"train": tf.data.Dataset.from_tensor_slices(rows)},
        features=tfds.features.FeaturesDict(features),
        file_format=request.param,
    ).download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=4))
    return folder


def numbers_of(dataset):
    return [int(x[0, 0, 0]) for x, _ in dataset.as_numpy_iterator()]


def load(folder):
    return data.load_tfds("numbers", data_dir=str(folder), memory_limit=0)


def test_one_process_reads_everything(prepared):
    dataset = load(prepared)
    assert sorted(numbers_of(dataset)) == list(range(COUNT)) and not is_own_share(dataset)
    assert dataset.element_spec[0].shape == (4, 4, 1) and dataset.class_names == ["0", "1", "2"]
    assert data.load_tfds("numbers", data_dir=str(prepared)).x.shape == (COUNT, 4, 4, 1)


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_read_every_example_once(prepared, workers, monkeypatch):
    cluster = {"worker": [f"127.0.0.1:{1 + i}" for i in range(workers)]}
    read, seen = [], []
    for index in range(workers):
        config = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        monkeypatch.setenv("TF_CONFIG", json.dumps(config))
        dataset, share = load(prepared), (index, index + 1, workers)
        assert is_own_share(dataset) and int(dataset.cardinality()) == COUNT // workers
        read.append(numbers_of(dataset))
        options = {"batch_size": 2 * workers, "input_shape": (4, 4, 1), "share": share, "shuffle": True}
        seen += [int(x[0, 0, 0] * 255 + 0.5) for batch, _ in data.batches(dataset, **options) for x in batch]
    together = [number for part in read for number in part]
    assert len(set(together)) == len(together) == COUNT // workers * workers
    assert sorted(seen) == sorted(together)


PROGRAM = """
    import resource
    import keras, numpy as np, tensorflow as tf
    import tftransfer as tt
    from tftransfer.data import dataset_batches

    dataset_batches._BUFFER_BYTES = 20 * 2**20
    side, count = 128, 20_000  # uint8: 983 MB

    class Mean(tt.objectives.Objective):
        def call(self, x, training=None):
            return {"features": self.backbone(x, training=training)}

        def compute_objective(self, outputs):
            return keras.ops.mean(keras.ops.square(outputs["features"] - 1.0))

    layers = [keras.layers.AveragePooling2D(32), keras.layers.Flatten(), keras.layers.Dense(4)]
    objective = Mean(keras.Sequential([keras.Input((side, side, 3)), *layers]))

    def picture(i):
        return tf.cast(tf.random.stateless_uniform((side, side, 3), (i, 1), 0, 255, tf.int32), tf.uint8)

    def train(count):
        tt.pretrain(objective, tf.data.Dataset.range(count).map(picture), epochs=1, batch_size=50, verbose=0)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    first = train(1000)
    print(train(count) - first)
"""


@pytest.mark.slow
def test_a_run_reads_more_than_it_holds(tmp_path):
    """983 MB go through a run that grows by less than a quarter of that."""
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    done = subprocess.run([sys.executable, str(tmp_path / "program.py")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert float(done.stdout.splitlines()[-1]) < 245, done.stdout
