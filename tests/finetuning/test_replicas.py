"""Two replicas fine-tune to the weights of one device, with multipliers, decay, a frozen stage and a penalty."""

import functools

import keras
import numpy as np
import pytest

import tftransfer as tt
from tests.choice import each
from tftransfer.finetuning import finetune
from tftransfer.policies import layer_decay, linear_probe

POLICIES = {
    name: functools.partial(getattr(tt.policies, name), epochs=1, learning_rate=1e-3)
    for name in tt.policies.__all__
    if name[0].islower()
}
POLICIES["gradual"] = lambda: tt.policies.gradual(2, epochs=1, learning_rate=1e-3)
POLICIES["layer_decay"] = lambda: linear_probe(1) + layer_decay(0.5, epochs=2, learning_rate=1e-3)
ON_TOKENS = ("lora", "layer_decay")
OFTEN = ("full", "gradual", "layer_decay", "l2_sp", "lora")  # the others' stages are made of the same parts
EVERY = each(POLICIES, OFTEN)


def blocks():
    """What policies look for (blocks, norms, kernels, biases), and quick to trace and compile."""
    parts = [keras.Input((6, 6, 1)), keras.layers.Flatten(name="flatten")]
    for block in ("block_00", "block_01"):
        parts.append(keras.layers.Dense(8, name=f"{block}_dense"))
        parts.append(keras.layers.LayerNormalization(name=f"{block}_norm"))
        parts.append(keras.layers.ReLU(name=f"{block}_relu"))
    return keras.Sequential(parts, name="blocks")


def tuned(placed, name, data, **options):
    keras.utils.set_random_seed(1)
    policy = POLICIES[name]()
    with placed.scope():
        if name in ON_TOKENS:
            backbone = tt.backbones.vit((6, 6, 1), patch_size=2, width=8, depth=1, num_heads=2)
        else:
            backbone = blocks()
        task = tt.tasks.Classifier(backbone, num_classes=3)
        optimizer = keras.optimizers.AdamW(weight_decay=0.1, epsilon=1e-3, global_clipnorm=0.5)
    keras.utils.set_random_seed(2)
    history = finetune(
        task,
        data,
        validation_data=data,
        policy=policy,
        batch_size=16,
        optimizer=optimizer,
        verbose=0,
        **options,
    )
    return task, history


@pytest.mark.parametrize("name", EVERY)
def test_two_replicas_give_the_weights_of_one_device(name, data):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("tf.distribute replicas exist on TensorFlow only")
    one, first = tuned(tt.placement.strategy("cpu", verbose=False), name, data)
    two, second = tuned(tt.placement.strategy("mirrored", verbose=False), name, data)
    for mine, theirs in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    np.testing.assert_allclose(first.history["val_loss"], second.history["val_loss"], atol=1e-4)


@pytest.mark.parametrize("name", each(POLICIES, ["layer_decay", "lora"]))
def test_xla_compiles_every_stage(name, data, monkeypatch):
    """The only stand-in for a TPU to be had on a CPU."""
    monkeypatch.setattr(tt.placement, "jit_compile", lambda *_, **__: True)
    x, y = data
    task, history = tuned(tt.placement.strategy("cpu", verbose=False), name, (x[:16], y[:16]))
    assert np.isfinite(history.history["loss"]).all()
    assert all(np.isfinite(w).all() for w in task.get_weights())


@pytest.mark.parametrize("what", ["ema", "class weights and mixing"])
def test_what_is_learned_and_kept_is_that_of_one_device(what, data):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("tf.distribute replicas exist on TensorFlow only")
    weights = []
    for name in ("cpu", "mirrored"):
        placed = tt.placement.strategy(name, verbose=False)
        keras.utils.set_random_seed(1)
        with placed.scope():
            task = tt.tasks.Classifier(tt.backbones.cnn((6, 6, 1), filters=(4, 6)), num_classes=3)
            optimizer = keras.optimizers.SGD(momentum=0.9, use_ema=what == "ema", ema_momentum=0.8)
        options = {"class_weight": "balanced", "mixing": keras.layers.MixUp(0.5, seed=1)}
        finetune(
            task,
            data,
            validation_data=data,
            policy=linear_probe(1) + layer_decay(0.5, epochs=2, learning_rate=1e-2),
            optimizer=optimizer,
            batch_size=8,
            verbose=0,
            **({} if what == "ema" else options),
        )
        weights.append(task.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
