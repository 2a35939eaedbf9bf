"""Builders of backbones: functions that return plain Keras models, from an input to features."""

from tftransfer.backbones.cnn import cnn
from tftransfer.backbones.mlp import mlp
from tftransfer.backbones.resnet18 import resnet18
from tftransfer.backbones.resnet50 import resnet50
from tftransfer.backbones.table_transformer import table_transformer
from tftransfer.backbones.vgg16 import vgg16
from tftransfer.backbones.vit import vit

__all__ = ["cnn", "mlp", "resnet18", "resnet50", "table_transformer", "vgg16", "vit"]
