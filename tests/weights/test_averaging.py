"""interpolate and soup: exact means of weights, new models, inputs untouched, misfits refused."""

import keras
import numpy as np
import pytest

from tftransfer import backbones
from tftransfer.tasks import Classifier
from tftransfer.weights import save_backbone
from tftransfer.weights.averaging import interpolate, soup

pytestmark = pytest.mark.compute


def backbone(seed):
    keras.utils.set_random_seed(seed)
    return backbones.cnn((8, 8, 1), filters=(4, 6))


def values(model):
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in model.weights]


def assert_close(one, other, **tolerance):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, **{"rtol": 1e-6, "atol": 1e-7, **tolerance})


@pytest.mark.parametrize("alpha", [0, 0.3, 1])
def test_between_two_tasks(alpha):
    one, other = (Classifier(backbone(seed), 3) for seed in (0, 1))
    before = values(one), values(other)
    middle = interpolate(one, other, alpha)
    assert type(middle) is Classifier and middle.num_classes == 3 and not middle.compiled
    assert_close(values(middle), [(1 - alpha) * a + alpha * b for a, b in zip(*before, strict=True)])
    assert_close(values(one), before[0], rtol=0, atol=0)
    assert_close(values(other), before[1], rtol=0, atol=0)
    x = np.random.default_rng(0).uniform(size=(2, 8, 8, 1)).astype("float32")
    if alpha == 1:
        np.testing.assert_array_equal(middle(x), other(x))


def test_from_the_file_of_a_backbone_the_head_stays(tmp_path):
    start = backbone(0)
    path = save_backbone(start, tmp_path / "b.weights.h5")
    task = Classifier(backbone(1), 3)
    for source in (path, start):
        middle = interpolate(source, task, 0.25)
        assert_close(
            values(middle.backbone),
            [0.75 * a + 0.25 * b for a, b in zip(values(start), values(task.backbone), strict=True)],
        )
        assert_close(values(middle.head), values(task.head), rtol=0, atol=0)
    tuned = save_backbone(task.backbone, tmp_path / "tuned.weights.h5")
    assert_close(values(interpolate(path, tuned, 0.25)), values(middle.backbone))
    task.save(tmp_path / "task.keras")
    assert_close(values(interpolate(path, tmp_path / "task.keras", 0.25)), values(middle))


def test_mistakes_of_interpolate(tmp_path):
    task = Classifier(backbone(0), 3)
    with pytest.raises(ValueError, match="alpha"):
        interpolate(task, task, 1.5)
    with pytest.raises(ValueError, match="do not fit"):
        interpolate(backbones.cnn((8, 8, 1), filters=(4, 8)), task, 0.5)
    with pytest.raises(ValueError, match="stay random"):
        interpolate(backbone(0), task, 0.5, allow_missing=())
    with pytest.raises(ValueError, match="not used"):
        interpolate(task, backbone(0), 0.5)
    assert len(values(interpolate(task, backbone(0), 0.5, allow_unused="^head/"))) == len(values(backbone(0)))
    with pytest.raises(ValueError, match="Expected a keras"):
        interpolate(task, 3, 0.5)


def test_a_uniform_soup_of_models_and_files(tmp_path):
    runs = [backbone(seed) for seed in range(3)]
    mean = [np.mean(column, axis=0) for column in zip(*map(values, runs), strict=True)]
    files = [save_backbone(run, tmp_path / f"{i}.weights.h5") for i, run in enumerate(runs)]
    for sources in (runs, files, [files[0], *runs[1:]], iter(runs)):
        made = soup(sources)
        assert_close(values(made), mean)
        assert all(made is not run for run in runs)
    assert_close(values(soup(runs[0])), values(runs[0]), rtol=0, atol=0)


def test_a_greedy_soup_keeps_what_helps(capsys):
    """Runs at 0, 1, 2 and 50 of one number, the truth at 1.4: 1, then 2 (mean 1.5); neither 0 (1.0) nor 50."""
    runs = []
    for value in (0.0, 1.0, 2.0, 50.0):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, name="d")])
        model.set_weights([np.array([[value]])])
        runs.append(model)

    def score(model):
        return -abs(model.get_weights()[0].item() - 1.4)

    made = soup(runs, score=score)
    assert made.get_weights()[0].item() == 1.5
    assert "Soup of 2 of 4 models (1, 2): -0.1000; the best: -0.4000." in capsys.readouterr().out
    assert soup(runs[3:], score=score, verbose=False).get_weights()[0].item() == 50.0
    with pytest.raises(ValueError, match="NaN"):
        soup(runs, score=lambda model: float("nan"))


def test_whole_numbers_are_not_averaged():
    class Counts(keras.layers.Layer):
        def build(self, shape):
            self.seen = self.add_weight(shape=(), dtype="int32", trainable=False, name="seen")

        def call(self, x):
            return x

    def make(count):
        with keras.saving.custom_object_scope({"Counts": Counts}):
            model = keras.Sequential(
                [keras.Input((2,)), Counts(name="counts"), keras.layers.Dense(2, name="d")]
            )
        model.layers[0].seen.assign(count)
        return model

    with keras.saving.custom_object_scope({"Counts": Counts}):
        assert int(soup([make(3), make(8)]).layers[0].seen) == 3
        assert int(interpolate(make(3), make(8), 0.5).layers[0].seen) == 8


def test_other_architectures_are_refused():
    with pytest.raises(ValueError, match=r"Number 1 differs from number 0 in .*kernel"):
        soup([backbone(0), backbones.cnn((8, 8, 1), filters=(4, 8))])
    with pytest.raises(ValueError, match="none"):
        soup([])

    class Opaque(keras.Model):
        def __init__(self, width):
            super().__init__()
            self.dense = keras.layers.Dense(width)

        def call(self, x):
            return self.dense(x)

    model = Opaque(2)
    model(np.zeros((1, 2), "float32"))
    with pytest.raises(ValueError, match="get_config"):
        soup([model])
