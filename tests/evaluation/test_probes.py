import keras
import numpy as np
import pytest

from tftransfer import backbones, objectives, placement
from tftransfer.evaluation import probes


def clusters(n=30, classes=3, dim=5, spread=0.3, seed=0):
    draw = np.random.default_rng(seed)
    y = np.arange(n) % classes
    return 3 * np.eye(classes, dim)[y] + spread * draw.normal(size=(n, dim)), y


def knn_by_hand(x, y, test_x, test_y, k):
    """Wu et al.: the k nearest by cosine vote with exp(cosine / 0.07)."""
    x, test_x = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, test_x))
    right = 0
    for row, label in zip(test_x @ x.T, test_y, strict=True):
        nearest = np.argsort(-row)[:k]
        votes = np.zeros(max(y) + 1)
        for i in nearest:
            votes[y[i]] += np.exp(row[i] / 0.07)
        right += votes.argmax() == label
    return right / len(test_y)


def ridge_by_hand(x, y, test_x, test_y, alpha):
    """Standardised features, classes as ±1, an intercept that is not penalised."""
    mean, deviation = x.mean(0), x.std(0)
    x, test_x = (x - mean) / deviation, (test_x - mean) / deviation
    targets = 2.0 * np.eye(max(y) + 1)[y] - 1
    weights = np.linalg.solve(x.T @ x + alpha * np.eye(x.shape[1]), x.T @ (targets - targets.mean(0)))
    return float(((test_x @ weights + targets.mean(0)).argmax(1) == test_y).mean())


@pytest.mark.parametrize("k", [1, 5, 20])
def test_knn_is_the_weighted_vote(k):
    x, y = clusters(40, spread=2.0)
    test_x, test_y = clusters(60, spread=2.0, seed=1)
    accuracy = probes.knn_accuracy(x, y, test_x, test_y, k=k)
    assert accuracy == pytest.approx(knn_by_hand(x, y, test_x, test_y, k))
    assert 0.3 < accuracy < 0.95


def test_knn_with_fewer_examples_than_neighbours():
    x, y = clusters(6)
    assert probes.knn_accuracy(x, y, x, y, k=100) == 1.0


def test_knn_sees_directions_alone():
    x, y = clusters(40, spread=2.0)
    test_x, test_y = clusters(60, spread=2.0, seed=1)
    scales = np.random.default_rng(3).uniform(0.1, 10, (60, 1))
    assert probes.knn_accuracy(x, y, test_x * scales, test_y) == probes.knn_accuracy(x, y, test_x, test_y)


def test_ridge_is_ridge_with_a_good_strength():
    x, y = clusters(60, spread=2.0)
    test_x, test_y = clusters(200, spread=2.0, seed=1)
    accuracy = probes.ridge_accuracy(x, y, test_x, test_y)
    strengths = [ridge_by_hand(x, y, test_x, test_y, alpha) for alpha in np.logspace(-2, 4, 13)]
    assert accuracy in [pytest.approx(a) for a in strengths]
    assert accuracy > np.median(strengths) - 0.05


def test_ridge_is_blind_to_scale_and_place_of_features():
    x, y = clusters(60, spread=2.0)
    test_x, test_y = clusters(60, spread=2.0, seed=1)
    other = probes.ridge_accuracy(x * 1e-3 + 7, y, test_x * 1e-3 + 7, test_y)
    assert other == pytest.approx(probes.ridge_accuracy(x, y, test_x, test_y))


@pytest.mark.compute
def test_embed_pools_features_in_inference_mode():
    backbone = backbones.cnn((8, 8, 1), filters=(4,))
    x = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 1), dtype="uint8")
    expected = np.asarray(backbone(x / np.float32(255), training=False)).mean(axis=(1, 2))
    embeddings = probes.embed(backbone, x, batch_size=4)
    assert embeddings.dtype == "float32"
    np.testing.assert_allclose(embeddings, expected, atol=1e-5)
    np.testing.assert_array_equal(probes.embed(backbone, x / np.float32(255), batch_size=4), embeddings)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute is TensorFlow's")
def test_embed_gives_one_row_an_example_on_two_replicas():
    ids = np.array([[5, 6, 7, 8], [5, 6, 0, 0], [7, 0, 0, 0], [8, 9, 5, 0], [6, 0, 0, 0]])
    found = []
    for name in ("cpu", "mirrored"):
        with placement.strategy(name, verbose=False).scope():
            keras.utils.set_random_seed(0)
            backbone = backbones.bert((4,), vocabulary_size=10, width=8, depth=1, num_heads=2)
        found.append(probes.embed(backbone, ids, batch_size=2))
    np.testing.assert_allclose(*found, atol=1e-6)


def test_embed_sees_what_was_added_to_a_backbone():
    backbone, x = backbones.mlp((5,), units=(4,)), np.random.default_rng(0).random((6, 5), "float32")
    before = probes.embed(backbone, x)
    layer = next(layer for layer in backbone._flatten_layers() if isinstance(layer, keras.layers.Dense))
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(np.ones(layer.lora_kernel_b.shape))
    after = probes.embed(backbone, x)
    assert np.abs(after - before).max() > 0.01
    np.testing.assert_allclose(after, np.asarray(backbone(x)), atol=1e-6)


def test_embed_leaves_bytes_to_a_backbone_that_rescales():
    layers = [keras.Input((4, 4, 1)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    x = np.full((3, 4, 4, 1), 51, "uint8")
    np.testing.assert_allclose(probes.embed(keras.Sequential(layers), x), 0.2, atol=1e-6)


def probed(every=1, epochs=5):
    backbone = backbones.mlp((5,), units=(4,))
    x, y = clusters(24)
    probe, calls = probes.Probe(backbone, (x, y), every=every), []
    original, probes.embed = probes.embed, lambda *a, **k: calls.append(1) or original(*a, **k)
    try:
        objective = objectives.Autoencoder(backbone)
        objective.compile("adam")
        history = objective.fit(x.astype("float32"), epochs=epochs, callbacks=[probe], verbose=0).history
    finally:
        probes.embed = original
    return history, len(calls) // 2


@pytest.mark.parametrize("every, expected", [(1, 5), (2, 4), (10, 2)])
def test_first_last_and_every_few_epochs(every, expected):
    history, times = probed(every)
    assert times == expected
    assert len(history["probe_accuracy"]) == len(history["knn_accuracy"]) == 5


def test_halves_are_apart_and_stratified():
    x, y = clusters(24)
    x[:, 4] = np.arange(24)
    probe = probes.Probe(backbones.mlp((5,), units=(4,)), (x, y))
    assert not set(probe._train_x[:, 4]) & set(probe._test_x[:, 4])
    assert np.bincount(probe._train_y).tolist() == np.bincount(probe._test_y).tolist() == [4, 4, 4]
    again = probes.Probe(backbones.mlp((5,), units=(4,)), (x, y))
    np.testing.assert_array_equal(again._train_x, probe._train_x)
