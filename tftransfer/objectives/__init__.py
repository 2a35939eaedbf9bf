"""Pretraining objectives: one file each, with its pure loss function."""

from tftransfer.objectives.autoencoder import Autoencoder
from tftransfer.objectives.masked_autoencoder import MaskedAutoencoder
from tftransfer.objectives.objective import Objective
from tftransfer.objectives.simclr import SimCLR

__all__ = ["Autoencoder", "MaskedAutoencoder", "Objective", "SimCLR"]
