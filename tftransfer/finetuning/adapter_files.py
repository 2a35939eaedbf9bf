"""What LoRA or adapters added to a shared backbone, in a file of its own; and LoRA merged for good."""

import json
import re

import h5py
import keras

from tftransfer.finetuning.compilation import scope_of
from tftransfer.finetuning.freezing import context_of, variable_paths
from tftransfer.policies.adapters import Adapter, Insert
from tftransfer.policies.lora import Enable
from tftransfer.weights import atomic_write

__all__ = ["load_adapters", "merge_lora", "save_adapters"]

RECORD = "tftransfer_adapters"
_ADDED = re.compile(r"^head/|/lora_[^/]*$|(^|/)adapter_\d+/")


def save_adapters(task, path):
    """Saves the head and what `policies.lora` or `policies.adapters` put into the backbone: kilobytes per task.

    Args:
        task: a task that was fine-tuned with one of these policies.
        path: file to write, such as `"task.adapters.h5"`; an old one stays until the new one is whole.

    Raises:
        ValueError: when the backbone has neither.
        OSError: when the file cannot be written.

    Example:

    >>> import tempfile, pathlib, numpy as np, tftransfer as tt
    >>> def build():
    ...     keras.utils.set_random_seed(0)  # stands for loading the same pretrained backbone
    ...     return tt.tasks.Classifier(tt.backbones.mlp((8,), units=(4,)), num_classes=2)
    >>> task, x, y = build(), np.random.rand(8, 8).astype("float32"), np.arange(8) % 2
    >>> _ = tt.finetune(task, (x, y), policy=tt.policies.lora(2, epochs=1), verbose=0)
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "task.adapters.h5"
    >>> save_adapters(task, path)
    >>> loaded = load_adapters(build(), path)
    >>> bool(np.allclose(task(x), loaded(x), atol=1e-6))
    True
    """
    layers = task.backbone._flatten_layers()
    ranks = {layer.lora_rank for layer in layers if getattr(layer, "lora_enabled", False)}
    widths = {layer.width for layer in task.backbone._flatten_layers() if isinstance(layer, Adapter)}
    if len(ranks) + len(widths) != 1:
        raise ValueError(
            f"save_adapters needs a task with LoRA of one rank or adapters of one width; found LoRA ranks "
            f"{sorted(ranks)} and adapter widths {sorted(widths)}. Fine-tune with policies.lora or "
            f"policies.adapters first, or save the whole task: task.save('task.keras')."
        )
    added = {path: v for path, v in variable_paths(task).items() if _ADDED.search(path)}
    record = {"rank": next(iter(ranks), None), "width": next(iter(widths), None), "alpha": _alpha(task)}
    with atomic_write(path) as temporary:
        with h5py.File(temporary, "w") as file:
            for name, variable in added.items():
                file[name] = keras.ops.convert_to_numpy(variable)
            file.attrs[RECORD] = json.dumps(record)


def load_adapters(task, path):
    """Puts a saved head and LoRA or adapters onto a task whose backbone has the same pretrained weights.

    Args:
        task: a task with the same kind of head; its backbone has neither LoRA nor adapters yet, or the same.
        path: what `save_adapters` wrote.

    Returns:
        The task.

    Raises:
        ValueError: when the file is none of these, or does not fit the task.
        OSError: when it cannot be read.
    """
    with h5py.File(path, "r") as file:
        if RECORD not in file.attrs:
            raise ValueError(f"{path} was not written by save_adapters.")
        record, names = json.loads(file.attrs[RECORD]), []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        values = {name: file[name][()] for name in names}
    with scope_of(task):
        if record["rank"] is not None:
            kernels = {name.rsplit("/lora_", 1)[0] for name in names if "/lora_" in name}
            targets = "|".join(f"^{re.escape(kernel)}/" for kernel in sorted(kernels))
            Enable(record["rank"], record["alpha"], targets)(context_of(task))
        else:
            Insert(record["width"])(context_of(task))
    added = {name: v for name, v in variable_paths(task).items() if _ADDED.search(name)}
    shapes = {name: tuple(value.shape) for name, value in values.items()}
    if {name: tuple(variable.shape) for name, variable in added.items()} != shapes:
        wrong = sorted(set(added) ^ set(values)) or [n for n in added if tuple(added[n].shape) != shapes[n]]
        raise ValueError(
            f"{path} does not fit this task: {', '.join(wrong[:5])} differ. Build the task on the same "
            "backbone, with a head of the same size."
        )
    for name, variable in added.items():
        variable.assign(values[name])
    return task


def merge_lora(task):
    """Adds LoRA's thin matrices to their kernels for good: the same outputs, at the price of plain layers.

    Args:
        task: a task (or any model) with LoRA; without it nothing happens.

    Returns:
        The number of layers merged.
    """
    merged = 0
    for layer in task._flatten_layers():
        if not getattr(layer, "lora_enabled", False):
            continue
        embeds = isinstance(layer, keras.layers.Embedding)
        name = "embeddings" if embeds else "kernel"
        whole = keras.ops.convert_to_numpy(getattr(layer, name))
        layer.lora_enabled, layer.lora_rank = False, None
        layer._tracker.unlock()
        for part in ("a", "b"):
            layer._untrack_variable(getattr(layer, f"lora_{name}_{part}"))
        layer._tracker.lock()
        kernel = getattr(layer, f"_{name}")
        kernel.trainable = True
        kernel.assign(whole)
        merged += 1
    task.compiled = False  # the optimizer knows variables that are gone
    task.train_function = task.test_function = task.predict_function = None
    return merged


def _alpha(task):
    layers = task.backbone._flatten_layers()
    return next((layer.lora_alpha for layer in layers if getattr(layer, "lora_enabled", False)), None)
