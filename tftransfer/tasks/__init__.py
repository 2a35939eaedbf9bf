"""Tasks: backbone → pool → head, one file each."""

from tftransfer.tasks.classifier import Classifier
from tftransfer.tasks.regressor import Regressor
from tftransfer.tasks.task import Task

__all__ = ["Classifier", "Regressor", "Task"]
