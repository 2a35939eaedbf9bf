"""Fine-tuning: `finetune` runs the stages of a policy on a task."""

from tftransfer.finetuning.freezing import variable_paths
from tftransfer.finetuning.runner import finetune

__all__ = ["finetune", "variable_paths"]
