"""The weights file: save, describe, load and transfer, each strictly and with a receipt."""

from tftransfer.weights.description import Description, describe
from tftransfer.weights.files import atomic_write, check_writable
from tftransfer.weights.loading import load_backbone
from tftransfer.weights.paths import variable_paths
from tftransfer.weights.receipt import Receipt
from tftransfer.weights.saving import save_backbone
from tftransfer.weights.transfer import transfer_weights

__all__ = [
    "Description",
    "Receipt",
    "atomic_write",
    "check_writable",
    "describe",
    "load_backbone",
    "save_backbone",
    "transfer_weights",
    "variable_paths",
]
