"""A folder of Hugging Face (`config.json`, `model.safetensors`, a tokenizer) as weights of our `bert` or `gpt`."""

import functools
import json
import re
from pathlib import Path

import numpy as np

from tftransfer.weights.arrival import Arrival, deliver
from tftransfer.weights.order import Pair
from tftransfer.weights.paths import slots
from tftransfer.weights.receipt import Line, listed
from tftransfer.weights.record import Record
from tftransfer.weights.safetensors import read_tensor, tensors_of

__all__ = ["HuggingFace", "is_hugging_face"]

_BERT = {  # our path -> theirs; several are put side by side
    "embedder/words/embeddings": "embeddings.word_embeddings.weight",
    "embedder/positions/table": "embeddings.position_embeddings.weight",
    "embedder/types/table": "embeddings.token_type_embeddings.weight",
    "embedder/norm": "embeddings.LayerNorm",
    "trunk/block_{:02d}/attention/qkv": [
        f"encoder.layer.{{}}.attention.self.{name}" for name in ("query", "key", "value")
    ],
    "trunk/block_{:02d}/attention/projection": "encoder.layer.{}.attention.output.dense",
    "trunk/block_{:02d}/norm_1": "encoder.layer.{}.attention.output.LayerNorm",
    "trunk/block_{:02d}/mlp_1": "encoder.layer.{}.intermediate.dense",
    "trunk/block_{:02d}/mlp_2": "encoder.layer.{}.output.dense",
    "trunk/block_{:02d}/norm_2": "encoder.layer.{}.output.LayerNorm",
}
_GPT = {
    "embedder/words/embeddings": "wte.weight",
    "embedder/positions/table": "wpe.weight",
    "trunk/block_{:02d}/norm_1": "h.{}.ln_1",
    "trunk/block_{:02d}/attention/qkv": ["h.{}.attn.c_attn"],
    "trunk/block_{:02d}/attention/projection": "h.{}.attn.c_proj",
    "trunk/block_{:02d}/norm_2": "h.{}.ln_2",
    "trunk/block_{:02d}/mlp_1": "h.{}.mlp.c_fc",
    "trunk/block_{:02d}/mlp_2": "h.{}.mlp.c_proj",
    "trunk/norm": "ln_f",
}
_SIZES = {  # of `config.json`: width, depth, heads, hidden width, positions; then what it must say
    "bert": (
        (
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "max_position_embeddings",
        ),
        {
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-12,
            "position_embedding_type": "absolute",
            "is_decoder": False,
        },
    ),
    "gpt2": (
        ("n_embd", "n_layer", "n_head", "n_inner", "n_positions"),
        {
            "activation_function": "gelu_new",
            "layer_norm_epsilon": 1e-5,
            "scale_attn_weights": True,
            "scale_attn_by_inverse_layer_idx": False,
        },
    ),
}


def is_hugging_face(path):
    """Whether a path is a folder with a `config.json`."""
    return isinstance(path, (str, Path)) and (Path(path).expanduser() / "config.json").is_file()


class HuggingFace:
    """A folder of Hugging Face's `transformers` that holds a BERT or a GPT-2.

    GPT-2 has no padding; here its id is 0, the others are one higher, and the word table has a row before the first.
    Dropout is left out, as by default in our builders. What is not part of the backbone (BERT's pooler, the heads of
    its pretraining) is listed as unused.

    Args:
        path: the folder.

    Raises:
        OSError: when a file is missing.
        ValueError: for a model of another kind, settings that ours has not, or damaged files.
    """

    def __init__(self, path):
        self.path = Path(path).expanduser()
        self.name = repr(str(self.path))
        try:
            self.config = json.loads((self.path / "config.json").read_text(encoding="utf-8"))
            self.kind = self.config.get("model_type")
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{self.name} has a config.json that is not JSON: {error}.") from error
        if self.kind not in _SIZES:
            raise ValueError(
                f"{self.name} holds a model of the type {self.kind!r}; {' and '.join(_SIZES)} are read here. Other "
                f"models are used as they are by KerasHub (keras_hub.models.Backbone.from_preset)."
            )
        if not list(self.path.glob("model.safetensors*")):
            raise FileNotFoundError(
                f"{self.name} has no model.safetensors. Files of PyTorch (pytorch_model.bin) can run code and are not "
                f"read: convert them by model.save_pretrained(folder) in transformers."
            )
        names, wanted = _SIZES[self.kind]
        other = {k: self.config[k] for k, v in wanted.items() if self.config.get(k, v) != v}
        if other:
            raise ValueError(
                f"{self.name} has settings that {self.kind} here has not: {other}; it has {wanted}."
            )
        try:
            width, depth, heads, hidden, positions = (self.config.get(name) for name in names)
            hidden = 4 * width if hidden is None else hidden
            ratio = hidden / width
            ratio = ratio if int(width * ratio) == hidden else (hidden + 0.5) / width
            self.sizes = {"width": width, "depth": depth, "num_heads": heads, "mlp_ratio": ratio}
        except TypeError as error:
            raise ValueError(f"{self.name}: config.json lacks one of {', '.join(names)}.") from error
        self.positions = positions
        tensors = tensors_of(self.path)
        prefix = "bert." if self.kind == "bert" else "transformer."
        self.tensors = {_modern(name.removeprefix(prefix)): tensor for name, tensor in tensors.items()}

    def build(self):
        """Our model of these sizes, with the folder's tokenizer in it; its weights are still random."""
        from tftransfer import backbones
        from tftransfer.layers import Tokenization

        tokenization = Tokenization.from_file(self.path, max_length=self.positions)
        make = backbones.bert if self.kind == "bert" else backbones.gpt
        self.pad = _pad_of(self.path)
        return make(tokenization, **self.sizes)

    def load(self):
        """`(model, receipt)`."""
        model = self.build()
        table = _BERT if self.kind == "bert" else _GPT
        arrivals, used = [], set()
        for slot in slots(model):
            block, path = None, slot.path
            if found := re.search(r"block_(\d+)", path):
                block, path = int(found[1]), path.replace(found[0], "block_{:02d}")
            *layer, leaf = path.split("/")
            theirs, kind = table.get(path), None
            if theirs is None:
                theirs, kind = table.get("/".join(layer)), leaf
            names = [name.format(block) for name in (theirs if isinstance(theirs, list) else [theirs])]
            if kind is not None:
                names = [f"{name}.{'bias' if kind in ('bias', 'beta') else 'weight'}" for name in names]
            lacking = [name for name in names if name not in self.tensors]
            if lacking:
                raise ValueError(f"{self.name} lacks {listed(lacking)}, for {slot.path} of the model.")
            values = [read_tensor(self.tensors[name]) for name in names]
            if self.kind == "bert" and kind == "kernel":
                values = [value.T for value in values]  # PyTorch keeps (out, in)
            value, notes = np.concatenate(values, axis=-1) if len(values) > 1 else values[0], ()
            if path == "embedder/words/embeddings":
                value, notes = self._words(value, slot.variable.shape[0])
            if value.shape != tuple(slot.variable.shape):
                raise ValueError(
                    f"{self.name}: {names[0]} has the shape {value.shape}, and {slot.path} "
                    f"{tuple(slot.variable.shape)}: config.json does not fit model.safetensors, or the tokenizer is "
                    f"another one."
                )
            used.update(names)
            pair = Pair(_Entry(" + ".join(names)), slot)
            arrivals.append(Arrival(pair, np.ascontiguousarray(value), notes))
        rest = [
            Line("unused", name, None, tensor[2], int(np.prod(tensor[2])))
            for name, tensor in self.tensors.items()
            if name not in used
        ]
        return model, deliver(self, model, arrivals, rest).verify().assert_loaded()

    @functools.cached_property
    def record(self):
        """What the folder says of itself."""
        return Record(
            name=self.path.name,
            backbone=None,
            manifest=(),
            objective={"name": ", ".join(self.config.get("architectures") or [self.kind])},
            versions={"transformers": str(self.config.get("transformers_version", ""))},
        )

    def _words(self, table, rows):
        """The word table in the order of the tokenization, whose padding is 0."""
        notes = []
        if self.pad is None:
            table = np.concatenate([np.zeros_like(table[:1]), table])
            notes.append("a row for padding put first")
        elif self.pad:
            order = [self.pad, *(i for i in range(len(table)) if i != self.pad)]
            table = table[order]
            notes.append(f"row {self.pad}, padding, put first")
        if len(table) > rows:
            notes.append(f"{len(table) - rows} rows without a token left out")
        return table[:rows], tuple(notes)


class _Entry:
    """What a receipt says of a tensor."""

    chain = leaf = None

    def __init__(self, path):
        self.path = path


def _modern(name):
    """The names of the norms' weights in old files of BERT."""
    return re.sub(
        r"LayerNorm\.gamma$", "LayerNorm.weight", re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)
    )


def _pad_of(folder):
    """The id of padding in the tokenizer's file; BERT's without one have it at 0."""
    from tftransfer.layers.tokenizer_files import tokenizer_json
    from tftransfer.layers.tokenizer_json import pad_place

    return pad_place(tokenizer_json(folder))
