"""The head of a task: made for the classes in the data, or begun anew."""

from tftransfer import data as data_module
from tftransfer.finetuning.case import input_shape_of

__all__ = ["build_head", "renew_head"]


def build_head(task, data):
    """Makes the head for as many classes as labelled data hold; leaves a task that has a head as it is.

    Args:
        task: a task; `tasks.Classifier(backbone)` without `num_classes` has no head.
        data: labelled examples, as for `finetune`. Names of classes (`Examples.class_names`) count where some
            class has no example; two classes make two logits.

    Returns:
        The number of classes read, or None where there was a head already.

    Raises:
        ValueError: when the number of classes cannot be read from the labels.

    Example:

    >>> import numpy as np, tftransfer as tt
    >>> task = tt.tasks.Classifier(tt.backbones.mlp((8,), units=(4,)))
    >>> build_head(task, (np.zeros((3, 8)), [0, 2, 1])), task.head.units
    (3, 3)
    """
    if getattr(task, "head", task) is not None or not hasattr(task, "num_classes"):
        return None
    several = getattr(task, "multi_label", False)
    classes = data_module.count_classes(data, multi_label=several, input_shape=input_shape_of(task))
    task.swap_head(classes)
    return classes


def renew_head(task):
    """Gives the head new initial weights, in place, so that nothing is traced anew."""
    head = type(task.head).from_config(task.head.get_config())
    head.build_from_config(task.head.get_build_config())
    task.head.set_weights(head.get_weights())
