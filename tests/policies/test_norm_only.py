"""Only normalization and the head move; live statistics adapt."""

import keras

from tftransfer.finetuning import finetune
from tftransfer.policies import norm_only


def test_scales_offsets_and_statistics_move(make_task, data, snapshot):
    task = make_task("cnn")
    before = snapshot(task)
    history = finetune(task, data, policy=norm_only(2), verbose=0)
    after = snapshot(task)
    changed = {path.rsplit("/", 1)[1] for path in before if (before[path] != after[path]).any()}
    assert changed == {
        "gamma",
        "beta",
        "moving_mean",
        "moving_variance",
        "kernel",
        "bias",
    }  # the last two: the head
    norms = [x for x in task.backbone._flatten_layers() if isinstance(x, keras.layers.BatchNormalization)]
    assert history.stages[0]["batch_norm_live"] == len(norms)
