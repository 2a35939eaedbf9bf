"""Fine-tuning policies: functions that return stages; `+` chains them."""

from tftransfer.policies.adapters import adapters
from tftransfer.policies.bitfit import bitfit
from tftransfer.policies.discriminative import discriminative
from tftransfer.policies.fastai import fastai
from tftransfer.policies.full import full
from tftransfer.policies.gradual import gradual
from tftransfer.policies.l2_sp import l2_sp
from tftransfer.policies.layer_decay import layer_decay
from tftransfer.policies.linear_probe import linear_probe
from tftransfer.policies.lora import lora
from tftransfer.policies.norm_only import norm_only
from tftransfer.policies.policy import Context, OneCycle, Policy, Stage
from tftransfer.policies.surgical import surgical

__all__ = [
    "Context",
    "OneCycle",
    "Policy",
    "Stage",
    "adapters",
    "bitfit",
    "discriminative",
    "fastai",
    "full",
    "gradual",
    "l2_sp",
    "layer_decay",
    "linear_probe",
    "lora",
    "norm_only",
    "surgical",
]
