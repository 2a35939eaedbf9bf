import numpy as np
import pytest

from tftransfer.guards import LossNotFinite, StopOnBadLoss, effective_rank, warn_of_collapse


def features(n=200, dim=32, seed=0):
    return np.random.default_rng(seed).normal(size=(n, dim))


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf")])
def test_bad_loss_stops_with_the_place(loss):
    watcher = StopOnBadLoss(every=5)
    watcher.on_epoch_begin(2)
    watcher.on_train_batch_end(0, {"loss": 1.0})
    for batch in range(1, 5):
        watcher.on_train_batch_end(
            batch, {"loss": loss}
        )  # not looked at: reading it would wait for the device
    with pytest.raises(ValueError, match="epoch 3, step 6"):
        watcher.on_train_batch_end(5, {"loss": loss})
    with pytest.raises(ValueError, match=r"epoch 3: .*Lower the learning rate"):
        watcher.on_epoch_end(2, {"loss": loss})


def test_one_error_that_serves_both_ways_of_catching_it():
    watcher = StopOnBadLoss(every=1, where=" of stage 'full'", advice="Do this.")
    watcher.on_epoch_begin(0)
    with pytest.raises(LossNotFinite, match=r"nan in epoch 1, step 1 of stage 'full': .* Do this\.$"):
        watcher.on_train_batch_end(0, {"loss": float("nan")})
    assert issubclass(LossNotFinite, ValueError) and issubclass(LossNotFinite, FloatingPointError)


def test_bad_loss_is_seen_when_several_steps_are_one_execution():
    watcher = StopOnBadLoss(every=5)
    watcher.on_epoch_begin(0)
    seen = []
    watcher._check = lambda logs, where: seen.append(where)
    for last in range(3, 40, 4):  # what Keras tells with steps_per_execution=4
        watcher.on_train_batch_end(last, {"loss": 1.0})
    assert len(seen) == 5


def test_good_losses_pass():
    watcher = StopOnBadLoss(every=1)
    watcher.on_epoch_begin(0)
    for logs in ({"loss": 1.0}, {"loss": np.float32(0)}, {}, None):
        watcher.on_train_batch_end(0, logs)
        watcher.on_epoch_end(0, logs)


def test_effective_rank_closed_forms():
    draw = np.random.default_rng(0)
    q = np.linalg.qr(draw.normal(size=(50, 50)))[0]
    q = q - q.mean(0)  # centring changes singular values: make them exact again
    u, _, v = np.linalg.svd(q, full_matrices=False)
    u, v = u[:, :4], v[:4]
    assert effective_rank(u * [1, 1, 1, 1] @ v) == pytest.approx(4, abs=1e-6)
    share = np.array([0.5, 0.25, 0.125, 0.125])
    entropy = -np.sum(share * np.log(share))
    assert effective_rank(u * share @ v) == pytest.approx(np.exp(entropy), rel=1e-6)
    assert effective_rank(7 * (u * share @ v) + 100) == pytest.approx(np.exp(entropy), rel=1e-4)
    assert effective_rank(np.outer(draw.normal(size=20), draw.normal(size=5))) == pytest.approx(1)
    assert effective_rank(np.ones((20, 5))) == 1


@pytest.mark.parametrize(
    "embeddings",
    [
        np.full((100, 16), 3.0),  # a constant
        np.zeros((100, 16)),
        5.0 + 1e-6 * features(100, 16),  # a constant and rounding
        np.outer(np.linspace(-1, 1, 100), features(1, 16)[0]),  # all on one line
    ],
    ids=["constant", "zero", "rounding", "line"],
)
def test_collapse_is_told(embeddings):
    with pytest.warns(UserWarning, match="features have collapsed"):
        assert warn_of_collapse(embeddings)


@pytest.mark.parametrize(
    "embeddings",
    [
        features(),
        np.maximum(features(), 0),
        1e-8 * features(),  # small, but not all the same
        features(100, 1),  # a bottleneck of one number, of two: one direction is all there can be
        features(100, 2) * [1, 0.05],
        features(2, 64),  # two examples lie on a line
        features(1, 64),
    ],
    ids=["normal", "relu", "small", "one number", "two numbers", "two examples", "one example"],
)
def test_no_false_alarm(embeddings):
    assert not warn_of_collapse(embeddings)
