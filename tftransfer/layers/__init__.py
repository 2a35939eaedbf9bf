"""Small Keras layers that the builders, objectives and tasks are made of."""

from tftransfer.layers.augmentation import RandomView
from tftransfer.layers.config import Configured, register
from tftransfer.layers.corruption import swap_values
from tftransfer.layers.decoder import example_decoder
from tftransfer.layers.normalization import batch_normalization
from tftransfer.layers.patch_decoder import PatchDecoder
from tftransfer.layers.patches import PatchEmbedding, normalize_patches, patchify, unpatchify
from tftransfer.layers.pooling import pool
from tftransfer.layers.positions import PositionEmbedding, sincos_positions
from tftransfer.layers.projector import projector
from tftransfer.layers.random_states import random_states, random_states_kept
from tftransfer.layers.scaling import rescales_pixels
from tftransfer.layers.schedule import StepCount, cosine
from tftransfer.layers.stages import token_stages
from tftransfer.layers.teacher import Teacher
from tftransfer.layers.transformer import SelfAttention, TransformerBlock
from tftransfer.layers.views import default_view, two_views

__all__ = [
    "Configured",
    "PatchDecoder",
    "PatchEmbedding",
    "PositionEmbedding",
    "RandomView",
    "SelfAttention",
    "StepCount",
    "Teacher",
    "TransformerBlock",
    "batch_normalization",
    "cosine",
    "default_view",
    "example_decoder",
    "normalize_patches",
    "patchify",
    "pool",
    "projector",
    "random_states",
    "random_states_kept",
    "register",
    "rescales_pixels",
    "sincos_positions",
    "swap_values",
    "token_stages",
    "two_views",
    "unpatchify",
]
