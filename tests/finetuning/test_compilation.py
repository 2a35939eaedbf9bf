"""A second run of an equal stage brings compiled functions back, with an optimizer as new."""

import keras
import numpy as np
import pytest

from tftransfer.finetuning import compilation, finetune
from tftransfer.policies import full, linear_probe


@pytest.mark.compute
def test_equal_runs_compile_once_and_give_equal_weights(make_task, data, monkeypatch):
    task, start = make_task(), make_task().get_weights()
    compiled = []
    plain = type(task).compile
    monkeypatch.setattr(type(task), "compile", lambda self, **k: (compiled.append(1), plain(self, **k))[1])
    policy = linear_probe(2) + full(2, learning_rate=1e-2)
    results = []
    for _ in range(3):
        task.set_weights(start)
        finetune(task, data, policy=policy, batch_size=8, verbose=0)
        results.append(task.get_weights())
    assert len(compiled) == 2
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", ["SGD", "Adagrad", "AdamW", "RMSprop"])
def test_optimizer_state_starts_anew(make_task, data, name):
    task, start = make_task(), make_task().get_weights()
    optimizer = getattr(keras.optimizers, name)(learning_rate=1e-2)
    results = []
    for _ in range(2):
        task.set_weights(start)
        finetune(task, data, policy=full(2), optimizer=optimizer, verbose=0)
        results.append(task.get_weights())
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


def test_what_differs_is_compiled_anew(make_task, data):
    task = make_task()
    kept = compilation.kept_beside(task).compiled
    finetune(task, data, policy=full(1, learning_rate=1e-2), verbose=0)
    assert len(kept) == 1
    finetune(task, data, policy=full(1, learning_rate=1e-3), verbose=0)
    assert len(kept) == 2
    finetune(task, data, policy=full(1, learning_rate=1e-3), optimizer=keras.optimizers.SGD(), verbose=0)
    assert len(kept) == 3
    task.backbone.get_layer("relu_00").negative_slope = 0.5  # part of the configuration
    finetune(task, data, policy=full(1, learning_rate=1e-3), verbose=0)
    assert len(kept) == 4
