"""Pretraining objectives: one file each, with its pure loss function."""

from tftransfer.objectives.autoencoder import Autoencoder
from tftransfer.objectives.barlow_twins import BarlowTwins
from tftransfer.objectives.bigan import BiGAN
from tftransfer.objectives.byol import BYOL
from tftransfer.objectives.causal_lm import CausalLM
from tftransfer.objectives.dino import DINO
from tftransfer.objectives.gan import GAN
from tftransfer.objectives.ijepa import IJEPA
from tftransfer.objectives.masked_autoencoder import MaskedAutoencoder
from tftransfer.objectives.masked_lm import MaskedLM
from tftransfer.objectives.moco import MoCo
from tftransfer.objectives.next_patch_prediction import NextPatchPrediction
from tftransfer.objectives.objective import Objective
from tftransfer.objectives.replaced_token import ReplacedToken
from tftransfer.objectives.rotation_prediction import RotationPrediction
from tftransfer.objectives.scarf import SCARF
from tftransfer.objectives.sentence_contrast import SentenceContrast
from tftransfer.objectives.simclr import SimCLR
from tftransfer.objectives.simmim import SimMIM
from tftransfer.objectives.simsiam import SimSiam
from tftransfer.objectives.span_denoising import SpanDenoising
from tftransfer.objectives.variational_autoencoder import VariationalAutoencoder
from tftransfer.objectives.vicreg import VICReg
from tftransfer.objectives.vime import VIME

__all__ = [
    "BYOL",
    "DINO",
    "GAN",
    "IJEPA",
    "SCARF",
    "VIME",
    "Autoencoder",
    "BarlowTwins",
    "BiGAN",
    "CausalLM",
    "MaskedAutoencoder",
    "MaskedLM",
    "MoCo",
    "NextPatchPrediction",
    "Objective",
    "ReplacedToken",
    "RotationPrediction",
    "SentenceContrast",
    "SimCLR",
    "SimMIM",
    "SimSiam",
    "SpanDenoising",
    "VICReg",
    "VariationalAutoencoder",
]
