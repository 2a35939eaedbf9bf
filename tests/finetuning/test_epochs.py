"""An epoch in one compiled call gives what its steps give one by one."""

import keras
import numpy as np
import pytest

from tftransfer.finetuning import epochs, finetune
from tftransfer.policies import linear_probe


class HearsSteps(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        self.heard = batch + 1


@pytest.mark.compute
@pytest.mark.parametrize(("batch_size", "dropout"), [(8, 0.0), (11, 0.5), (32, 0.0)])
def test_same_weights_and_history_as_step_by_step(make_task, data, validation, batch_size, dropout):
    results, steps = [], HearsSteps()
    for callbacks in ([], [steps]):
        task = make_task(dropout=dropout)
        history = finetune(
            task,
            data,
            validation_data=validation,
            policy=linear_probe(4),
            batch_size=batch_size,
            callbacks=callbacks,
            verbose=0,
        )
        results.append((history.history, task.get_weights()))
    assert steps.heard == -(-22 // batch_size)
    for name, values in results[0][0].items():
        np.testing.assert_allclose(values, results[1][0][name], atol=1e-6, err_msg=name)
    for one, other in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_data_of_another_size_need_no_new_head_model(make_task, data):
    task = make_task()
    for count in (22, 15, 9, 3):
        rows = slice(0, count)
        history = finetune(
            task, (data[0][rows], data[1][rows]), policy=linear_probe(1), batch_size=4, verbose=0
        )
        assert np.isfinite(history.history["loss"][0])


def test_who_hears_steps():
    assert epochs.hears_steps(HearsSteps())
    assert not epochs.hears_steps(keras.callbacks.EarlyStopping())
