"""Fine-tuning policies: functions that return stages; `+` chains them."""

from tftransfer.policies.full import full
from tftransfer.policies.linear_probe import linear_probe
from tftransfer.policies.policy import Policy, Stage

__all__ = ["Policy", "Stage", "full", "linear_probe"]
