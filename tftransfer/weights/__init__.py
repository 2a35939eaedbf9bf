"""The weights file: save, describe, load and transfer, each strictly and with a receipt."""

from tftransfer.weights.adapt_pictures import input_channels, patch_size, positions
from tftransfer.weights.adapt_rows import head_rows, token_embeddings
from tftransfer.weights.averaging import interpolate, soup
from tftransfer.weights.description import Description, describe
from tftransfer.weights.files import atomic_write, check_writable
from tftransfer.weights.loading import load_backbone
from tftransfer.weights.paths import variable_paths
from tftransfer.weights.receipt import Receipt
from tftransfer.weights.saving import check_savable, save_backbone
from tftransfer.weights.transfer import transfer_weights

__all__ = [
    "Description",
    "Receipt",
    "atomic_write",
    "check_savable",
    "check_writable",
    "describe",
    "head_rows",
    "input_channels",
    "interpolate",
    "load_backbone",
    "patch_size",
    "positions",
    "save_backbone",
    "soup",
    "token_embeddings",
    "transfer_weights",
    "variable_paths",
]
