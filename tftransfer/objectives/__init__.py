"""Pretraining objectives: one file each, with its pure loss function."""

from tftransfer.objectives.autoencoder import Autoencoder
from tftransfer.objectives.barlow_twins import BarlowTwins
from tftransfer.objectives.byol import BYOL
from tftransfer.objectives.masked_autoencoder import MaskedAutoencoder
from tftransfer.objectives.moco import MoCo
from tftransfer.objectives.objective import Objective
from tftransfer.objectives.simclr import SimCLR
from tftransfer.objectives.simsiam import SimSiam
from tftransfer.objectives.vicreg import VICReg

__all__ = [
    "BYOL",
    "Autoencoder",
    "BarlowTwins",
    "MaskedAutoencoder",
    "MoCo",
    "Objective",
    "SimCLR",
    "SimSiam",
    "VICReg",
]
