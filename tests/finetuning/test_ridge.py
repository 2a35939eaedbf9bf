"""ridge_head(): the ridge solution of scikit-learn, honest leave-one-out figures, about calibrated probabilities."""

import keras
import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.preprocessing import StandardScaler

from tests.finetuning.conftest import pictures, small_backbone
from tftransfer import backbones
from tftransfer.finetuning import finetune, ridge
from tftransfer.finetuning.ridge import ridge_head
from tftransfer.policies import full
from tftransfer.tasks import Classifier, Regressor

pytestmark = pytest.mark.compute


def table(count, features=6, classes=3, noise=0.5, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, features)).astype("float32")
    y = (x[:, :classes] + noise * random.normal(size=(count, classes))).argmax(axis=1)
    return x, y


def identity(features):
    """A backbone whose embeddings are its inputs."""
    return keras.Sequential([keras.Input((features,)), keras.layers.Activation("linear", name="same")])


def numpy(tensor):
    return np.array(keras.ops.convert_to_numpy(tensor))


@pytest.mark.parametrize(("count", "features"), [(200, 6), (30, 50)], ids=["tall", "wide"])
def test_it_is_scikit_learns_ridge(count, features):
    x, y = table(count, features)
    x = x * np.linspace(0.1, 30, features, dtype="float32") + 3
    task = Classifier(identity(features), 3)
    fit = ridge_head(task, (x, y))
    z = StandardScaler().fit_transform(x.astype("float64"))
    values = np.linalg.eigvalsh(z.T @ z)
    alpha = fit.strength * values[values > 1e-6 * values.max()].mean()
    expected = Ridge(alpha).fit(z, np.eye(3)[y])
    np.testing.assert_allclose(numpy(task(x)) / fit.scale, expected.predict(z), atol=2e-4)
    grid = ridge._STRENGTHS * alpha / fit.strength
    assert RidgeCV(grid).fit(z, np.eye(3)[y]).alpha_ == pytest.approx(alpha, rel=1e-5)


def test_leave_one_out_is_what_leaving_out_gives():
    x, y = table(25)
    targets = np.eye(3)[y]
    _, _, predictions, strength = ridge._solve(x, targets)
    z = StandardScaler().fit_transform(x.astype("float64"))
    alpha = strength * np.linalg.eigvalsh(z.T @ z).mean()
    for i in range(25):
        rest = np.arange(25) != i
        by_hand = Ridge(alpha).fit(z[rest], targets[rest]).predict(z[i : i + 1])
        np.testing.assert_allclose(predictions[i], by_hand[0], atol=2e-4)


@pytest.mark.parametrize("noise", [0.3, 1.5])
def test_probabilities_are_about_calibrated(noise):
    task = Classifier(identity(6), 3)
    fit = ridge_head(task, table(400, noise=noise))
    x, y = table(4000, noise=noise, seed=1)
    p = numpy(task.probabilities(task(x)))
    right = p.argmax(axis=1) == y
    assert fit.score == pytest.approx(right.mean(), abs=0.06)
    assert p.max(axis=1).mean() == pytest.approx(right.mean(), abs=0.08)
    assert -np.log(p[np.arange(4000), y]).mean() < np.log(3) * 0.95


def test_kinds_of_labels():
    x, y = table(120, noise=0.2)
    one, rows = Classifier(identity(6), 3), Classifier(identity(6), 3)
    assert ridge_head(one, (x, y)) == ridge_head(rows, (x, np.eye(3, dtype="float32")[y]))
    binary = Classifier(identity(6), 1)
    assert ridge_head(binary, (x, x[:, 0] > 0)).score > 0.9
    assert ((numpy(binary(x))[:, 0] > 0) == (x[:, 0] > 0)).mean() > 0.9
    several = Classifier(identity(6), 2, multi_label=True)
    assert ridge_head(several, (x, (x[:, :2] > 0).astype("float32"))).score > 0.9
    regressor = Regressor(identity(6), 2)
    fit = ridge_head(regressor, (x, x[:, :2] * 5 + 7))
    assert fit.score > 0.999 and fit.scale == 1
    np.testing.assert_allclose(numpy(regressor(x)), x[:, :2] * 5 + 7, atol=0.05)


def test_a_start_for_fine_tuning(make_task):
    data = pictures(60)
    task, random = make_task(), make_task()
    before = [numpy(v) for v in task.backbone.variables]
    fit = ridge_head(task, data)
    assert fit.score > 0.8
    for one, other in zip(before, task.backbone.variables, strict=True):
        np.testing.assert_array_equal(one, numpy(other))
    losses = []
    for start in (task, random):
        start.compile("sgd", start.default_loss())
        losses.append(start.evaluate(*data, verbose=0))
    assert losses[0] < 0.8 * losses[1]
    history = finetune(task, data, policy=full(1, learning_rate=1e-5), verbose=0)
    assert np.isfinite(history.history["loss"][0])


def test_hard_cases():
    x, y = table(9, 40)
    ridge_head(Classifier(identity(40), 3), (x, y))  # fewer examples than features
    dead = x.copy()
    dead[:, 3:] = 7.0  # most features constant
    task = Classifier(identity(40), 3)
    ridge_head(task, (dead, y))
    assert np.isfinite(numpy(task(dead))).all()
    np.testing.assert_array_equal(numpy(task.head.kernel)[3:], 0)
    constant = Classifier(identity(40), 3)
    ridge_head(constant, (np.ones_like(x), y))
    assert np.isfinite(numpy(constant(x))).all()


def test_datasets(make_task, data):
    tf = pytest.importorskip("tensorflow")
    one, other = make_task(), make_task()
    ridge_head(one, data)
    ridge_head(other, tf.data.Dataset.from_tensor_slices(data).batch(5))
    np.testing.assert_allclose(numpy(one.head.kernel), numpy(other.head.kernel), rtol=2e-3, atol=1e-3)


def test_mistakes_raise(data):
    heads = [keras.layers.Dense(3, activation="softmax"), keras.layers.Dense(3, use_bias=False)]
    heads.append(keras.Sequential([keras.layers.Dense(5), keras.layers.Dense(3)]))
    for head in heads:
        with pytest.raises(ValueError, match="linear Dense"):
            ridge_head(Classifier(small_backbone(), 3, head=head), data)
    with pytest.raises(ValueError, match="takes a task"):
        ridge_head(backbones.mlp((4,)), data)
    with pytest.raises(ValueError, match="labels from 0 to 2"):
        ridge_head(Classifier(small_backbone(), 2), data)
