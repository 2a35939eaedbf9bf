"""Fine-tuning: `finetune` runs the stages of a policy on a task; what helps before and beside it."""

from tftransfer.finetuning.adapter_files import load_adapters, merge_lora, save_adapters
from tftransfer.finetuning.averaging import ExponentialAverage, StochasticAverage, refresh_batch_norm
from tftransfer.finetuning.diagnosis import Diagnosis, diagnose
from tftransfer.finetuning.freezing import variable_paths
from tftransfer.finetuning.rate_finder import lr_find
from tftransfer.finetuning.ridge import ridge_head
from tftransfer.finetuning.runner import finetune

__all__ = [
    "Diagnosis",
    "ExponentialAverage",
    "StochasticAverage",
    "diagnose",
    "finetune",
    "load_adapters",
    "lr_find",
    "merge_lora",
    "refresh_batch_norm",
    "ridge_head",
    "save_adapters",
    "variable_paths",
]
