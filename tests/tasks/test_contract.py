"""What every task promises wherever it runs, for each name in `tasks.__all__`."""

import keras
import numpy as np
import pytest

from tests.choice import each
from tests.objectives.conftest import texts
from tests.tasks.texts import tiny
from tests.xla import lowered
from tftransfer import backbones, placement, tasks
from tftransfer.layers import RandomView

ALL = [getattr(tasks, name) for name in tasks.__all__ if name not in ("Task", "SentenceIndex")]
every = pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)


TEXTS = {
    tasks.PairClassifier: ("bert", [3]),
    tasks.Tagger: ("bert", [3]),
    tasks.Seq2Seq: ("bert", []),
    tasks.Generator: ("gpt", []),
}


def make(cls):
    keras.utils.set_random_seed(1)
    if cls in TEXTS:
        kind, arguments = TEXTS[cls]
        return cls(tiny(kind, dropout=0.3), *arguments, dropout=0.3)
    view = RandomView(crop_scale=(0.5, 1.0))
    return cls(backbones.cnn((8, 8, 1), filters=(4, 6)), 3, dropout=0.3, augmentation=view)


def examples(task):
    """19 examples with labels that the task's own loss takes: 8, 8 and 3, of which a second replica sees one."""
    random = np.random.default_rng(0)
    if type(task) in TEXTS:
        ids = texts()[:19]
        labels = np.where(ids > 4, ids % 3, -1)  # of words; some texts have more than others
        if type(task) is tasks.Seq2Seq:
            return {"source": ids, "target": np.maximum(labels, 0)}, labels
        return ids, labels[:, 1] if type(task) is tasks.PairClassifier else labels
    x = random.random((19, 8, 8, 1), "float32")
    if "Sparse" in type(task.default_loss()).__name__:
        return x, random.integers(0, 3, 19)
    return x, random.random((19, *task(x[:1]).shape[1:]), "float32")


def train(cls, strategy, **compiled):
    with strategy.scope():
        task = make(cls)
        metrics = task.default_metrics()
    task.compile("sgd", task.default_loss(), metrics=metrics, **compiled)
    x, y = examples(task)
    return task, task.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0).history


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute is TensorFlow's")
@pytest.mark.parametrize("cls", each(ALL, ["Classifier", "Tagger", "Seq2Seq"]))
def test_two_replicas_give_the_weights_of_one_device(cls):
    """With augmentation and dropout."""
    one, first = train(cls, placement.strategy("cpu", verbose=False))
    two, second = train(cls, placement.strategy("mirrored", verbose=False))
    for mine, its in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-5)
    for name in first:  # the loss, and the task's metrics
        np.testing.assert_allclose(first[name], second[name], rtol=1e-5, atol=1e-5)
    x, _ = examples(one)
    shown = [task.predict(x, batch_size=8, verbose=0) for task in (one, two)]
    np.testing.assert_allclose(*shown, atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the lowering is TensorFlow's")
@every
def test_xla_takes_the_whole_step(cls):
    task = make(cls)
    task.compile("sgd", task.default_loss(), metrics=task.default_metrics())
    x, y = keras.tree.map_structure(lambda part: part[:8], examples(task))
    assert lowered(task, x, y).startswith("HloModule")


# The others add no mathematics to those.
@pytest.mark.parametrize("cls", each(ALL, ["Classifier", "Generator"]))
def test_xla_runs_the_whole_step(cls):
    """The only stand-in for a TPU to be had on a CPU."""
    before = make(cls).get_weights()
    task, history = train(cls, placement.strategy("cpu", verbose=False), jit_compile=True)
    assert np.isfinite(list(history.values())).all()
    assert all(np.isfinite(w).all() for w in task.get_weights())
    assert any((one != other).any() for one, other in zip(before, task.get_weights(), strict=True))
    x, y = examples(task)
    assert np.isfinite(task.evaluate(x, y, batch_size=19, verbose=0)).all()
    assert np.isfinite(task.predict(x, batch_size=19, verbose=0)).all()
