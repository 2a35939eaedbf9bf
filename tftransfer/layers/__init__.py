"""Small Keras layers that the builders, objectives and tasks are made of."""

from tftransfer.layers.augmentation import RandomView
from tftransfer.layers.causal_steps import CausalSteps
from tftransfer.layers.config import Configured, register
from tftransfer.layers.contrast import contrast, paired_contrast
from tftransfer.layers.corruption import corrupted_rows, swap_values
from tftransfer.layers.cuts import cut_tensors, functional
from tftransfer.layers.decoder import example_decoder, example_generator, reconstruction_error
from tftransfer.layers.generation import beam_search, choose_tokens, kept_writer, write_tokens
from tftransfer.layers.hub_texts import plain_ids
from tftransfer.layers.normalization import batch_normalization
from tftransfer.layers.patch_decoder import PatchDecoder
from tftransfer.layers.patches import PatchEmbedding, normalize_patches, patchify, unpatchify
from tftransfer.layers.place_patches import PlacePatches
from tftransfer.layers.pooling import TokenPooling, pool
from tftransfer.layers.positions import PositionEmbedding, sincos_positions
from tftransfer.layers.projector import projector
from tftransfer.layers.random_states import random_states, random_states_kept
from tftransfer.layers.raw_texts import are_texts, to_ids
from tftransfer.layers.remat import rematerialize
from tftransfer.layers.scaling import check_unit_pixels, greatest_pixel, rescales_pixels
from tftransfer.layers.schedule import StepCount, cosine
from tftransfer.layers.span_corruption import cut_spans
from tftransfer.layers.stages import token_stages
from tftransfer.layers.table_embedding import TableEmbedding
from tftransfer.layers.table_preprocessing import TablePreprocessing, preprocessing_of
from tftransfer.layers.targets import row_targets, token_targets
from tftransfer.layers.teacher import Teacher
from tftransfer.layers.text_decoder import CrossAttention, TextDecoder
from tftransfer.layers.text_embedding import (
    HidePadding,
    NotPadding,
    TextSegments,
    TokenPositions,
    TokenTypeIds,
    TokenTypes,
    word_table,
)
from tftransfer.layers.text_ids import TextIds, looks_ahead, needed_tokenization, text_ids
from tftransfer.layers.token_ids import TokenIds
from tftransfer.layers.token_loss import (
    Perplexity,
    TokenAccuracy,
    TokenCrossentropy,
    bits_per_byte,
    next_tokens,
    token_means,
    token_nats,
    token_scores,
)
from tftransfer.layers.token_masking import at_places, hide_tokens, maskable
from tftransfer.layers.tokenization import Tokenization, tokenization_of
from tftransfer.layers.transformer import SelfAttention, TransformerBlock
from tftransfer.layers.views import check_view, default_view, two_views

__all__ = [
    "CausalSteps",
    "Configured",
    "CrossAttention",
    "HidePadding",
    "NotPadding",
    "PatchDecoder",
    "PatchEmbedding",
    "Perplexity",
    "PlacePatches",
    "PositionEmbedding",
    "RandomView",
    "SelfAttention",
    "StepCount",
    "TableEmbedding",
    "TablePreprocessing",
    "Teacher",
    "TextDecoder",
    "TextIds",
    "TextSegments",
    "TokenAccuracy",
    "TokenCrossentropy",
    "TokenIds",
    "TokenPooling",
    "TokenPositions",
    "TokenTypeIds",
    "TokenTypes",
    "Tokenization",
    "TransformerBlock",
    "are_texts",
    "at_places",
    "batch_normalization",
    "beam_search",
    "bits_per_byte",
    "check_unit_pixels",
    "check_view",
    "choose_tokens",
    "contrast",
    "corrupted_rows",
    "cosine",
    "cut_spans",
    "cut_tensors",
    "default_view",
    "example_decoder",
    "example_generator",
    "functional",
    "greatest_pixel",
    "hide_tokens",
    "kept_writer",
    "looks_ahead",
    "maskable",
    "needed_tokenization",
    "next_tokens",
    "normalize_patches",
    "paired_contrast",
    "patchify",
    "plain_ids",
    "pool",
    "preprocessing_of",
    "projector",
    "random_states",
    "random_states_kept",
    "reconstruction_error",
    "register",
    "rematerialize",
    "rescales_pixels",
    "row_targets",
    "sincos_positions",
    "swap_values",
    "text_ids",
    "to_ids",
    "token_means",
    "token_nats",
    "token_scores",
    "token_stages",
    "token_targets",
    "tokenization_of",
    "two_views",
    "unpatchify",
    "word_table",
    "write_tokens",
]
