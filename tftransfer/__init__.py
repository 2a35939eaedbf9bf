"""tftransfer: pretrain any Keras model without labels, keep it in a file, fine-tune it on few labels."""

import importlib
import importlib.util
import os
import sys

from tftransfer.registration import watch_imports

__version__ = "0.1.0"

# name -> module that holds it; loaded on first use, so that `tftransfer --help` does not import TensorFlow
_PUBLIC = {
    "pretrain": "pretraining",
    "finetune": "finetuning",
    "diagnose": "finetuning",
    "lr_find": "finetuning",
    "evaluate": "evaluation",
    "compare": "evaluation",
    "cross_validate": "evaluation",
}
_MODULES = (
    "backbones",
    "data",
    "evaluation",
    "finetuning",
    "layers",
    "objectives",
    "placement",
    "policies",
    "tasks",
    "weights",
)

__all__ = ["__version__", *_PUBLIC, *_MODULES]


def _choose_backend():
    """Fails clearly without a backend; takes JAX where it is the only one and nothing else was asked for."""
    has_tensorflow = importlib.util.find_spec("tensorflow") is not None
    has_jax = importlib.util.find_spec("jax") is not None
    if not has_tensorflow and not has_jax:
        raise ImportError(
            "tftransfer needs TensorFlow (or JAX), and neither is installed here. TensorFlow comes in rival packages "
            'that overwrite each other, so choose one: `pip install "tftransfer[cpu]"` for a machine without an '
            'accelerator, `pip install "tftransfer[gpu]"` for NVIDIA GPUs, `pip install "tftransfer[tpu]"` for a TPU; '
            'or `pip install "tftransfer[jax]"` to run on JAX.'
        )
    if not has_tensorflow and "keras" not in sys.modules:
        os.environ.setdefault("KERAS_BACKEND", "jax")


_choose_backend()


def __getattr__(name):
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(
        f"module 'tftransfer' has no attribute {name!r}; it has {', '.join(sorted(__all__))}"
    )


def __dir__():
    return sorted(__all__)


watch_imports()
