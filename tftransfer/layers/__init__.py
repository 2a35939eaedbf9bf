"""Small Keras layers that the builders, objectives and tasks are made of."""

from tftransfer.layers.augmentation import RandomView
from tftransfer.layers.config import Configured, register
from tftransfer.layers.normalization import batch_normalization
from tftransfer.layers.patches import PatchEmbedding, patchify, unpatchify
from tftransfer.layers.pooling import pool
from tftransfer.layers.positions import PositionEmbedding, sincos_positions
from tftransfer.layers.projector import projector
from tftransfer.layers.transformer import SelfAttention, TransformerBlock

__all__ = [
    "Configured",
    "PatchEmbedding",
    "PositionEmbedding",
    "RandomView",
    "SelfAttention",
    "TransformerBlock",
    "batch_normalization",
    "patchify",
    "pool",
    "projector",
    "register",
    "sincos_positions",
    "unpatchify",
]
