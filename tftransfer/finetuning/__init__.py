"""Fine-tuning: `finetune` runs the stages of a policy on a task."""

from tftransfer.finetuning.adapter_files import load_adapters, merge_lora, save_adapters
from tftransfer.finetuning.freezing import variable_paths
from tftransfer.finetuning.runner import finetune

__all__ = ["finetune", "load_adapters", "merge_lora", "save_adapters", "variable_paths"]
