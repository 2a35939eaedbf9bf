"""What must be right before the first step of a fine-tuning run."""

import math

import keras

from tftransfer import data as data_module
from tftransfer.data.dataset_batches import columns_of, is_dataset
from tftransfer.finetuning.freezing import context_of
from tftransfer.layers import greatest_pixel
from tftransfer.policies import Policy, Stage, full, linear_probe

__all__ = ["check_data", "check_policy", "check_task", "count_steps", "is_one_hot"]


def check_task(task):
    """Raises a `ValueError` unless `task` is a built model with a backbone, a head, a loss and metrics."""
    needed = ("backbone", "head", "default_loss", "default_metrics")
    missing = [name for name in needed if not hasattr(task, name)]
    if not isinstance(task, keras.Model) or missing:
        raise ValueError(
            f"finetune takes a task, such as tftransfer.tasks.Classifier(backbone, num_classes=10); received "
            f"{type(task).__name__}, which has no {', '.join(missing) or 'Keras model in it'}."
        )
    if not task.built:
        raise ValueError(
            f"The task {task.name!r} is not built, so it has no weights yet. Call it on a batch first."
        )


def check_policy(policy, task):
    """The policy to run; each stage whose variables are known is resolved, so that a mistake shows now."""
    if policy is None:
        policy = linear_probe() + full()
    if isinstance(policy, Stage):
        policy = Policy([policy])
    if not isinstance(policy, Policy):
        raise ValueError(
            "policy must be a tftransfer.policies.Policy, such as linear_probe(5) + full(20); received "
            f"{policy!r}."
        )
    context = context_of(task)
    for stage in policy:
        if stage.prepare is not None:
            break  # it may add variables: from here on each stage is resolved when its turn comes
        stage.resolve(context)
    return policy


def check_data(task, data, *, training=True):
    """Raises a `ValueError` for data that the task cannot learn from; see `data.check_examples`.

    Args:
        task: the task.
        data: what the user gave.
        training: False for validation data.
    """
    if hasattr(task, "num_classes"):
        kind = "multi_label" if getattr(task, "multi_label", False) else "classification"
        classes = task.num_classes
    elif hasattr(task, "num_outputs"):
        kind, classes = "regression", task.num_outputs
    else:
        kind = classes = None
    data_module.check_examples(
        data,
        value_range=(-math.inf, greatest_pixel(task)),  # what preprocess_input makes may be negative
        input_shape=task.backbone.input_shape[1:],
        num_classes=classes,
        task=kind,
        training=training,
        name="the data" if training else "validation_data",
    )


def is_one_hot(data):
    """Whether the labels are rows `(examples, classes)` rather than numbers `(examples,)`."""
    columns = columns_of(data.element_spec) if is_dataset(data) else data
    if not isinstance(columns, tuple) or len(columns) < 2 or columns[1] is None:
        raise ValueError("finetune needs labelled data: a pair (x, y), or a tf.data.Dataset of such pairs.")
    shape = getattr(columns[1], "shape", None)
    if shape is None:
        shape = keras.ops.convert_to_numpy(columns[1]).shape
    if not is_dataset(data):
        return len(shape) == 2 and shape[1] > 1
    batched = data_module.is_batched(data)
    return len(shape) == 1 + batched and shape[-1] is not None and shape[-1] > 1


def count_steps(data, *, batch_size, input_shape, share=None):
    """Batches in a pass over the data; counted in one pass where a `tf.data.Dataset` does not know.

    Raises:
        ValueError: for a dataset without end.
    """
    shape = {"batch_size": batch_size, "input_shape": input_shape, "share": share}
    steps = data_module.steps_per_epoch(data, **shape)
    if steps is None and int(data.cardinality()) == -1:  # endless
        raise ValueError(
            "The tf.data.Dataset has no end (it was repeated), so that an epoch has no length. Leave "
            ".repeat() out, or say how many steps make an epoch: dataset.take(steps)."
        )
    return steps or sum(1 for _ in data_module.batches(data, **shape))
