"""What must be right before the first step of pretraining, and what a run is known by."""

import math
import numbers
import warnings

import numpy as np

from tftransfer import data as sources
from tftransfer import weights
from tftransfer.checkpoints import check_save_every
from tftransfer.data.dataset_batches import is_dataset
from tftransfer.data.glance import glance
from tftransfer.data.shares import is_own_share
from tftransfer.layers import TokenIds, greatest_pixel, looks_ahead, tokenization_of
from tftransfer.objectives import Objective

__all__ = [
    "batches_an_epoch",
    "check_arguments",
    "check_files",
    "check_save_every",
    "fingerprint",
    "known_by",
    "read_data",
    "value_range",
]


def check_arguments(
    objective, *, epochs, batch_size, resume, save_to, keep, health, probe_data, save_every, length_warmup
):
    """Raises a `ValueError` for arguments of `pretrain` that cannot be meant."""
    if not isinstance(objective, Objective):
        raise ValueError(
            f"pretrain takes an objective, such as tftransfer.objectives.SimCLR(backbone); received "
            f"{type(objective).__name__}."
        )
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
            raise ValueError(f"{name} is a whole number from 1 up; received {value!r}.")
    if resume and save_to is None:
        raise ValueError("resume=True needs save_to: the checkpoint to continue from lies beside that file.")
    check_save_every(save_every, save_to is not None, "save_to")
    if keep not in ("last", "best") or (keep == "best" and probe_data is None):
        raise ValueError(
            f'keep is "last", or "best" with probe_data=(x, y), whose labels choose the epoch; received {keep!r}'
            f"{'' if probe_data is not None else ' and no probe_data'}."
        )
    if not 0 <= length_warmup < 1:
        raise ValueError(f"length_warmup is a share of the run, in [0, 1); received {length_warmup!r}.")
    if health not in (None, "warn", "stop"):
        raise ValueError(f'health is None, "warn" or "stop"; received {health!r}.')


def value_range(objective, data):
    """The range in which pixels are expected: the objective's own, or at most what its backbone reads."""
    own = None if isinstance(getattr(data, "element_spec", data), dict) else objective.value_range
    return own or (-math.inf, greatest_pixel(objective.backbone))


def check_files(save_to, backbone, workers):
    """Raises unless the backbone can be saved, and (on the chief, who does it) at that path."""
    if save_to is not None:
        if workers.is_chief:
            weights.check_writable(save_to)
        weights.check_savable(backbone)


def batches_an_epoch(data, batch_size, shape, share=None):
    """The batch size, lowered where there are fewer examples; the batches of an epoch; whether short ones go."""
    options = {"input_shape": shape, "share": share}
    steps = sources.steps_per_epoch(data, batch_size=batch_size, drop_remainder=True, **options)
    size = steps or sources.steps_per_epoch(data, batch_size=1, input_shape=shape)
    if steps is None:
        raise ValueError(
            "The tf.data.Dataset does not say how many examples it has (repeat(), filter(), from_generator()). Give it "
            "an end with .take(n), and say the number with .apply(tf.data.experimental.assert_cardinality(n))."
        )
    if steps == 0:
        if share is not None and is_dataset(data) and is_own_share(data):
            raise ValueError(
                f"This worker's share has only {size} examples, less than its part of batch_size={batch_size}. Lower "
                "batch_size, or use fewer workers."
            )
        if is_dataset(data) and sources.is_batched(data, input_shape=shape):  # its batches stay as they are
            warnings.warn(
                "There are fewer examples than one batch of the tf.data.Dataset: every batch is short."
            )
            return batch_size, size, False
        warnings.warn(f"There are only {size} examples: batch_size is lowered from {batch_size} to {size}.")
        return size, 1, True
    return batch_size, steps, True


def known_by(objective, data, **settings):
    """What all workers must have in common, for `placement.Workers.agree`; the settings are those of `fingerprint`."""
    return {"the data": glance(data), "the settings": fingerprint(objective, **settings)}


def fingerprint(objective, *, batch_size, steps, epochs, seed, length_warmup_steps=0):
    """What a checkpoint belongs to; an interrupted run that is gone on with must have the same (JSON)."""
    settings = {k: v for k, v in objective.get_config().items() if isinstance(v, (bool, int, float, str))}
    return {
        "objective": type(objective).__name__,
        **{f"objective {name}": value for name, value in settings.items() if name != "name"},
        "batch_size": batch_size,
        "steps_per_epoch": steps,
        "epochs": epochs,
        "seed": seed,
        "length_warmup_steps": length_warmup_steps,
    }


def read_data(objective, data, probe_data, say):
    """Data and probe data, their texts as ids: of long texts several rows, of a causal model's full ones."""
    backbone = objective.backbone
    if tokenization_of(backbone) is None:
        return sources.read_texts(data, backbone), sources.read_texts(probe_data, backbone, name="probe_data")
    rows = "pack" if looks_ahead(backbone) is False else "window"
    read = sources.read_texts(data, objective, rows=rows)
    ids = read[0] if isinstance(read, tuple) else read
    if ids is not data and isinstance(ids, TokenIds):
        known = tokenization_of(backbone)
        if np.isin(ids, known.special_ids).all():
            raise ValueError(
                f"The data hold no token that the tokenizer knows ({known.kind} of {known.vocabulary_size} tokens): "
                f"the texts are empty, or in another script than those that it was trained on."
            )
        say(
            f"Texts as {len(ids)} rows of up to {ids.shape[1]} tokens, {ids.lengths.mean():.1f} on average "
            f"({known.kind} of {known.vocabulary_size} tokens, checksum {known.checksum})."
        )
    return read, sources.read_texts(probe_data, backbone, name="probe_data")
