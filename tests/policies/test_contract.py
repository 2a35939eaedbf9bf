"""What every policy does: learns a little, keeps what it froze, speaks clearly. New policies are found by `__all__`."""

import keras
import numpy as np
import pytest

import tftransfer as tt
from tftransfer import policies
from tftransfer.finetuning import finetune, variable_paths

pytestmark = pytest.mark.compute
POLICIES = [name for name in policies.__all__ if name[0].islower()]
FIRST = {"surgical": policies.linear_probe(1)}  # says little without a head that has learned


def pictures(count=24, seed=0):
    random = np.random.default_rng(seed)
    y = np.arange(count) % 3
    x = random.uniform(0.0, 0.3, size=(count, 6, 6, 1)).astype("float32")
    for i in range(count):
        x[i, 2 * y[i] : 2 * y[i] + 2] += 0.6
    return x, y


def make_task(kind):
    keras.utils.set_random_seed(1)
    if kind == "vit":
        backbone = tt.backbones.vit((6, 6, 1), patch_size=2, width=8, depth=2, num_heads=2)
    else:
        backbone = tt.backbones.cnn((6, 6, 1), filters=(4, 6))
    return tt.tasks.Classifier(backbone, num_classes=3)


def snapshot(task):
    return {path: np.array(keras.ops.convert_to_numpy(v)) for path, v in variable_paths(task).items()}


@pytest.mark.parametrize("kind", ["vit", "cnn"])
@pytest.mark.parametrize("name", POLICIES)
def test_learns_and_moves_what_it_says_and_nothing_else(name, kind):
    if (name, kind) == ("lora", "cnn"):
        pytest.skip("convolutions have no LoRA in Keras; test_lora.py")
    policy = getattr(policies, name)(epochs=6, learning_rate=1e-2)
    task = make_task(kind)
    if name in FIRST:
        policy = FIRST[name] + policy
    before = snapshot(task)
    history = finetune(task, pictures(), policy=policy, batch_size=8, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert np.isfinite(history.history["loss"]).all()
    said = {path for stage in history.stages for path in stage["multipliers"]}
    after = snapshot(task)
    for path in before:
        if path in said:
            assert (before[path] != after[path]).any(), path
        elif "moving" not in path:
            np.testing.assert_array_equal(before[path], after[path], err_msg=path)
    assert {"head/kernel", "head/bias"} <= said


@pytest.mark.parametrize("name", POLICIES)
def test_speaks_clearly(name):
    make = getattr(policies, name)
    policy = make(epochs=3, learning_rate=1e-3)
    assert isinstance(policy, policies.Policy)
    assert name in repr(policy) and "epochs=3" in repr(policy)
    assert make(epochs=3, learning_rate=1e-3) == policy
    assert len(policy + policy) == 2 * len(policy)
    with pytest.raises(ValueError, match="epochs"):
        make(epochs=0)
    with pytest.raises(ValueError, match="learning_rate"):
        make(epochs=1, learning_rate=-1.0)
