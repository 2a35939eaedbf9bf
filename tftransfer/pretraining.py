"""`pretrain`: train an objective on data without labels, and keep the backbone in a file."""

import os
import warnings

import keras

from tftransfer import data as sources
from tftransfer import placement, weights
from tftransfer.best_backbone import BestBackbone
from tftransfer.checkpoints import Checkpoint, calls_left
from tftransfer.compilation import default_compile
from tftransfer.data.dataset_batches import is_dataset
from tftransfer.evaluation import Health, Probe
from tftransfer.guards import StopOnBadLoss, warn_of_collapse
from tftransfer.layers import pool, tokenization_of
from tftransfer.placement.launch import reports
from tftransfer.preemption import Preemption
from tftransfer.pretraining_checks import (
    batches_an_epoch,
    check_arguments,
    check_files,
    fingerprint,
    known_by,
    read_data,
    value_range,
)
from tftransfer.progress import RunProgress

_WATCHED = 256  # examples whose features are watched


def pretrain(
    objective,
    data,
    *,
    epochs=100,
    batch_size=256,
    save_to=None,
    probe_data=None,
    keep="last",
    health=None,
    resume=False,
    save_every=None,
    length_warmup=0.0,
    callbacks=(),
    seed=0,
    verbose="auto",
):
    """Trains an objective on examples without labels; labels that come along are ignored.

    An objective that is compiled already is trained as it is; otherwise it is compiled by `default_compile`:
    AdamW with the objective's own rate and weight decay, warm-up and cosine. All else is Keras's `fit`.

    On several machines (`placement.strategy("multi_worker")`) each worker calls this with the same arguments and reads
    its rows of each batch; the chief alone writes files and speaks. What one of them lacks is said by all before the
    first step.

    Args:
        objective: an `objectives.Objective` over your backbone.
        data: an array `(n, ...)` or `(x, y)`, a `tf.data.Dataset` of examples or batches, or what `data.load`
            returns. Pictures of uint8 are scaled to [0, 1], unless the backbone rescales by itself. For a backbone of
            texts also texts, or the path of a `.txt` or `.csv` file or of a folder of `.txt` files: longer ones make
            several rows, and where a token sees only those before it, documents fill rows one behind the other.
        epochs: passes over the data.
        batch_size: examples a step, over all replicas together.
        save_to: path `*.weights.h5` for the backbone when training ends; a checkpoint lies beside it
            (`*.checkpoint.weights.h5`) until then, for `resume`.
        probe_data: labelled `(x, y)`, never used to train: at intervals the frozen features are probed with
            it, and `probe_accuracy` appears in the progress bar and the history.
        keep: "last": the backbone as training leaves it; "best": as it was at the epoch with the highest
            `probe_accuracy`, which needs `probe_data` (these labels then choose the weights: give other ones to
            judge them by). The loss of a pretraining objective does not tell which weights are best.
        health: "warn": `evaluation.Health` watches the features at intervals; its figures appear in the progress bar
            and the history, and a collapse is called out as soon as it is seen. "stop": it ends the run by an
            error, and a file that lay at `save_to` stays as it was. None looks once, at the end.
        resume: continue an interrupted run from the checkpoint beside `save_to`; without one, start. Several workers
            continue from the chief's.
        save_every: steps between two checkpoints; None saves twice a minute. With `save_to`, a SIGTERM (a machine that
            is about to be taken away) saves at once and ends the program with status 143.
        length_warmup: of texts: share of the run, in [0, 1), over which rows grow from an eighth of the longest to all
            of it; till then their ends are cut off, and a step costs less.
        callbacks: further Keras callbacks.
        seed: seed of the order of the examples.
        verbose: "auto" one progress bar for the whole run, 0 silent, 1 Keras's bar an epoch, 2 a line an
            epoch.

    Returns:
        Keras's `History`; `.history` has one list a figure, `.backbone` is the trained backbone, and `.best_epoch`
        the number of the epoch that was kept, from 0 (None with `keep="last"`).

    Raises:
        ValueError: before training, for data or settings that cannot work, a backbone that cannot be saved, or workers
            that differ in data or settings; during it, when the loss is not finite.
        OSError: when `save_to` cannot be written.

    Example:

    >>> import numpy as np, tftransfer as tt
    >>> objective = tt.objectives.Autoencoder(tt.backbones.mlp((8,), units=(4,)))
    >>> history = tt.pretrain(objective, np.random.rand(64, 8), epochs=2, batch_size=16, verbose=0)
    >>> len(history.history["loss"])
    2
    """
    watching = {"keep": keep, "health": health, "probe_data": probe_data}
    saving = {"resume": resume, "save_to": save_to, "save_every": save_every}
    sizes = {"epochs": epochs, "batch_size": batch_size, "length_warmup": length_warmup}
    check_arguments(objective, **sizes, **watching, **saving)
    workers = placement.workers_of(objective)
    verbose = verbose if workers.is_chief else 0
    say = print if verbose else _silent
    epochs, batch_size = int(epochs), int(batch_size)
    backbone = objective.backbone
    data, probe_data = read_data(objective, data, probe_data, say)
    watching["probe_data"] = probe_data
    shape = None if _is_dict(data) else backbone.input_shape[1:]
    options = {
        "input_shape": shape,
        "scale": not sources.rescales_pixels(backbone),
        "labels": False,
        "seed": seed,
    }
    with workers.agree() as common:
        placement.check_precision(objective)
        sources.check_examples(data, input_shape=shape, value_range=value_range(objective, data))
        check_files(save_to, backbone, workers)
        batch_size, steps, whole = batches_an_epoch(data, batch_size, shape, workers.share)
        sizes = {"batch_size": batch_size, "steps": steps, "epochs": epochs, "seed": seed}
        sizes["length_warmup_steps"] = short = int(length_warmup * steps * epochs)
        if workers.count > 1:
            common |= known_by(objective, data, **sizes)
    if not (is_dataset(data) and sources.is_batched(data, input_shape=shape)):
        say(placement.batch_plan(batch_size, objective, drop_remainder=whole, verbose=False))
    if not objective.compiled:
        default_compile(objective, steps=steps * epochs, say=say)
    with objective.scope():
        objective.plan(steps * epochs)
        objective.optimizer.build(objective.trainable_variables)  # in the first step it would be traced twice

    start, past = 0, {}
    watchers, every, best, watch = [StopOnBadLoss(), *callbacks], max(1, epochs // 10), None, None
    if keep == "best":
        best = BestBackbone(backbone, save_to, resume=resume, workers=workers)
    if probe_data is not None:
        chosen = {} if best is None else {"keep": best.keep, "best": best.accuracy}
        watchers.insert(0, Probe(backbone, probe_data, every=every, **chosen))
    if health is not None:
        examples = _sample(data, _WATCHED, backbone, options)
        if examples is not None:
            stop = health == "stop"
            examples = keras.ops.convert_to_numpy(examples)
            watch = Health(objective, examples, every=every, stop=stop)
            watchers.insert(0, watch)
    preemption = Preemption(workers, enabled=save_to is not None)
    if save_to is not None:
        checkpoint = Checkpoint(
            str(save_to).removesuffix(".weights.h5") + ".checkpoint.weights.h5",
            fingerprint=fingerprint(objective, **sizes) | {"optimizer": type(objective.optimizer).__name__},
            steps_per_epoch=steps,
            save_every=save_every,
            preemption=preemption,
            workers=workers,
        )
        told = reports([checkpoint.path], workers=workers, resume=resume)
        start, past = checkpoint.resume(objective, say) if resume else (0, {})
        watchers += [checkpoint, *told]
    else:
        watchers += reports(workers=workers)

    if verbose == "auto":
        watchers.append(RunProgress(steps=steps, epochs=epochs, start=start))

    history = keras.callbacks.History()
    history.history = past
    for first, last_epoch, count in calls_left(start, steps, epochs):
        batches = sources.batches(
            data,
            batch_size=batch_size,
            shuffle=True,
            drop_remainder=whole,
            repeat=True,
            start=first,
            share=workers.share,
            length_warmup_steps=short,
            **options,
        )
        with preemption, workers.together():
            done = objective.fit(
                workers.distribute(batches),
                epochs=last_epoch,
                initial_epoch=first // steps,
                steps_per_epoch=count,
                shuffle=False,  # the batches are shuffled already
                callbacks=watchers,
                verbose=0 if verbose == "auto" else verbose,
            )
        for name, values in done.history.items():
            history.history.setdefault(name, []).extend(values)
        if objective.stop_training:  # a callback of the user's
            break
    history.epoch = list(range(len(history.history["loss"])))
    history.set_model(objective)
    history.backbone, history.best_epoch = backbone, None
    if best is not None and best.put_back():
        history.best_epoch = best.epoch
        say(
            f"Kept the backbone of epoch {best.epoch + 1} of {epochs}, the best by its probe ({best.accuracy:.4f})."
        )

    sample = _sample(data, min(512, batch_size), backbone, options)
    if save_to is not None:
        with workers.agree():
            if workers.is_chief:
                record = {"history": history.history, "preprocessing": _preprocessing(backbone, sample)}
                _save(objective, save_to, seed=seed, **record)
        checkpoint.delete()
        if best is not None:
            best.delete()
        if workers.is_chief:
            say(f"Saved the backbone to {save_to} ({os.path.getsize(save_to) / 2**20:.1f} MiB).")
    workers.close()
    if sample is not None and not (watch and watch.told):
        warn_of_collapse(
            keras.ops.convert_to_numpy(pool(backbone.output_shape)(backbone(sample, training=False)))
        )
    return history


def _silent(*_):
    pass


def _is_dict(data):
    return isinstance(data[0] if isinstance(data, tuple) else data, dict)


def _sample(data, batch_size, backbone, options):
    """A batch of what the backbone reads, out of views or other parts where it has to be; None without."""
    batch = next(iter(sources.batches(data, batch_size=batch_size, shuffle=True, **options)))
    rank = len(backbone.input_shape)
    return next((part for part in keras.tree.flatten(batch) if len(part.shape) == rank), None)


def _save(objective, path, **record):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*load_backbone cannot rebuild")  # said before training
        weights.save_backbone(objective.backbone, path, objective=objective, **record)


def _preprocessing(backbone, sample):
    record = {"input_shape": list(backbone.input_shape[1:])}
    known = tokenization_of(backbone)
    if known is not None:
        record["tokenizer"] = {"kind": known.kind, "vocabulary_size": known.vocabulary_size}
        record["tokenizer"] |= {"max_length": known.max_length, "checksum": known.checksum}
    if sample is not None and "float" in str(sample.dtype):
        record["value_range"] = [float(keras.ops.min(sample)), float(keras.ops.max(sample))]
    return record
