"""Builders of backbones: functions that return plain Keras models, from an input to features."""

from tftransfer.backbones.bert import bert
from tftransfer.backbones.cnn import cnn
from tftransfer.backbones.gpt import gpt
from tftransfer.backbones.gru import gru
from tftransfer.backbones.lstm import lstm
from tftransfer.backbones.mlp import mlp
from tftransfer.backbones.resnet18 import resnet18
from tftransfer.backbones.resnet50 import resnet50
from tftransfer.backbones.table_transformer import table_transformer
from tftransfer.backbones.transformer_text import transformer_text
from tftransfer.backbones.vgg16 import vgg16
from tftransfer.backbones.vit import vit

__all__ = [
    "bert",
    "cnn",
    "gpt",
    "gru",
    "lstm",
    "mlp",
    "resnet18",
    "resnet50",
    "table_transformer",
    "transformer_text",
    "vgg16",
    "vit",
]
