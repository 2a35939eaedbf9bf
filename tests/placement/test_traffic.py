"""What replicas send each other in a step, counted in the graph of the step."""

import keras
import numpy as np
import pytest

from tftransfer import backbones, objectives, placement, tasks

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tf.distribute is TensorFlow's"
)


def sent(model, batch):
    """Bytes that one replica hands to each kind of collective operation in one training step: `{kind: bytes}`.

    Args:
        model: compiled, built under `mirrored`.
        batch: arrays of one replica, for the shapes.
    """
    import tensorflow as tf

    strategy = model.distribute_strategy
    model.make_train_function()

    def one_step(data):
        logs = strategy.run(model.train_step, args=(data,))
        return [strategy.reduce("MEAN", value, axis=None) for value in keras.tree.flatten(logs)]

    data = strategy.experimental_distribute_values_from_function(
        lambda _: keras.tree.map_structure(tf.constant, batch)
    )
    graph = tf.function(one_step).get_concrete_function(data).graph
    inner = [graph._get_function(name).graph for name in graph._functions]
    found = {}
    for operation in [op for part in (graph, *inner) for op in part.get_operations()]:
        if operation.type.startswith("Collective") and "Initialize" not in operation.type:
            value = operation.inputs[0]
            if value.op.type == "Pad":  # rows are brought to one number before they are gathered
                value = value.op.inputs[0]
            assert value.shape.is_fully_defined(), operation
            size = value.shape.num_elements() * value.dtype.size
            found[operation.type] = found.get(operation.type, 0) + size
    # every replica of this process has its operations in the graph
    return {kind: size / strategy.num_replicas_in_sync for kind, size in found.items()}


def masked_autoencoder():
    backbone = backbones.vit((16, 16, 3), patch_size=4, width=48, depth=1, num_heads=2)
    return objectives.MaskedAutoencoder(backbone)


def simclr():
    return objectives.SimCLR(backbones.cnn((16, 16, 3), filters=(64, 128)))


def classifier():
    return tasks.Classifier(backbones.cnn((16, 16, 3), filters=(64, 128)), num_classes=10)


@pytest.mark.parametrize("make", [masked_autoencoder, simclr, classifier], ids=lambda f: f.__name__)
def test_gradients_are_sent_once_and_little_else(mirrored, make):
    """Beside them: sums of batch statistics, projections for the loss, and the gradients of these."""
    with mirrored.scope():
        model = make()
    task = isinstance(model, tasks.Task)
    model.compile("adamw", model.default_loss() if task else None)
    x = np.zeros((4, 16, 16, 3), "float32")
    found = sent(model, (x, np.zeros(4, "int64")) if task else (x,))
    gradients = placement.gradient_bytes(model)
    assert gradients <= found["CollectiveReduceV2"] <= sum(found.values()) <= 1.05 * gradients, found
    if make is masked_autoencoder:
        assert sum(found.values()) == gradients  # neither batch statistics nor comparisons
