"""Adapters: nothing changes at first, the backbone never does, and a saved task comes back."""

import keras
import numpy as np
import pytest

import tftransfer as tt
from tftransfer.finetuning import finetune
from tftransfer.finetuning.freezing import context_of
from tftransfer.policies import adapters


@pytest.mark.parametrize("kind", ["vit", "cnn"])
def test_at_first_the_model_computes_what_it_did(make_task, data, kind):
    task = make_task(kind)
    before = keras.ops.convert_to_numpy(task(data[0]))
    old = {path for path in context_of(task).paths}
    (stage,) = adapters(4)
    stage.prepare(context_of(task))
    np.testing.assert_array_equal(before, keras.ops.convert_to_numpy(task(data[0])))
    new = set(context_of(task).paths)
    assert old < new
    assert len({path.split("adapter_")[1][:2] for path in new - old}) == len(context_of(task).groups) - 1
    assert list(context_of(task).paths)[-2:] == ["head/kernel", "head/bias"]


@pytest.mark.parametrize("kind", ["vit", "cnn"])
def test_the_backbone_does_not_change_by_a_bit(make_task, data, snapshot, kind):
    task = make_task(kind)
    before = snapshot(task)
    finetune(task, data, policy=adapters(4, epochs=3), verbose=0)
    after = snapshot(task)
    for path in before:
        if path.startswith("backbone/"):
            np.testing.assert_array_equal(before[path], after[path])
    assert (after["head/kernel"] != before["head/kernel"]).any()
    count = len(after)
    finetune(task, data, policy=adapters(4, epochs=1), verbose=0)  # goes on with those that are there
    assert len(snapshot(task)) == count


def test_a_saved_task_comes_back(make_task, data, tmp_path):
    task = make_task("cnn")
    finetune(task, data, policy=adapters(4, epochs=1), verbose=0)
    task.save(tmp_path / "task.keras")
    loaded = keras.models.load_model(tmp_path / "task.keras")
    np.testing.assert_allclose(
        task.predict(data[0], verbose=0), loaded.predict(data[0], verbose=0), atol=1e-6
    )


def test_a_subclassed_backbone_is_refused(data):
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(4)
            self.output_shape = (None, 4)
            self.build((None, 6, 6, 1))

        def build(self, shape):
            self.dense.build((None, 36))
            self.built = True

        def call(self, x):
            return self.dense(keras.ops.reshape(x, (-1, 36)))

        @property
        def input_shape(self):
            return (None, 6, 6, 1)

    try:
        task = tt.tasks.Classifier(Own(), num_classes=3)
    except (ValueError, AttributeError):
        pytest.skip("the task itself refuses subclassed backbones")
    with pytest.raises(ValueError, match="subclassed model"):
        finetune(task, data, policy=adapters(4, epochs=1), verbose=0)
