"""The main job on real data: pretrain without labels, save, fine-tune, compare with a fair control."""

import time
from pathlib import Path

import keras

from tftransfer import backbones, data, evaluation, layers, objectives, specs, weights
from tftransfer.pretraining import pretrain

# What suits a data set: views that keep the class, and the length of a run of a few minutes on two cores.
_VIEWS = {
    "digits": {"crop_scale": (0.5, 1.0), "flip": False},
    "mnist": {"crop_scale": (0.3, 1.0), "flip": False},
    "fashion_mnist": {"crop_scale": (0.3, 1.0)},
}
_STEPS = {"digits": 400}
_SMALL_VIT = {"width": 128, "depth": 4, "num_heads": 4}


def demo(
    source="digits",
    *,
    objective="simclr",
    backbone="cnn",
    labels_per_class=5,
    draws=5,
    epochs=None,
    batch_size=256,
    policy=None,
    folder="demo",
    data_dir=None,
    manual_dir=None,
    seed=0,
    verbose="auto",
):
    """Runs the whole story once and leaves its results in a folder.

    1. Load real data; a test set is held out that nothing else ever sees. 2. Pretrain on the training
    examples without their labels and save the backbone. 3. Over several draws of a few labels: reload it in a
    fresh model, train the head, then everything at a lower rate; and train the same architecture from
    scratch, at the rate that suits it best, for as many steps. 4. Print a table and a verdict, write a
    picture and a JSON.

    Args:
        source: what `data.load` takes: `"digits"`, a TFDS name, a folder of class folders, an `.npz`.
        objective: name of an objective, with arguments if need be: `"simclr(temperature=0.2)"`.
        backbone: name of a builder, with arguments if need be: `"vit(width=64, depth=2)"`.
        labels_per_class: labels per class, a number or several.
        draws: draws of the labels.
        epochs: pretraining epochs; by default what suits the data set.
        batch_size: pretraining batch.
        policy: how the pretrained arm is fine-tuned, a `Policy`; by default a linear probe, then everything.
        folder: where the results go; the file names begin with the name of the data set.
        data_dir: folder of prepared TFDS data.
        manual_dir: folder of the originals that TFDS would otherwise download.
        seed: seed of everything.
        verbose: 0 silent, "auto" progress bars.

    Returns:
        The `evaluation.Comparison`.

    Raises:
        ValueError: for names or data that do not serve.
        OSError: when the folder cannot be written.

    Example:

    >>> comparison = demo("digits", labels_per_class=5)  # doctest: +SKIP
    """
    begun = time.monotonic()
    name = Path(source).stem.replace(":", "_").replace("/", "_")
    folder = Path(folder)
    path = weights.check_writable(folder / f"{name}.weights.h5")
    say = print if verbose else (lambda *_: None)
    train, test = _load(source, data_dir, manual_dir, seed)
    say(
        f"{name}: {train.size} training and {test.size} test examples of shape {tuple(train.x.shape[1:])}.\n"
        f"No test example takes part in pretraining, in fine-tuning or in any choice.\n"
    )
    keras.utils.set_random_seed(seed)
    model = _objective(name, objective, backbone, train.x.shape[1:])
    epochs = epochs or max(1, round(_STEPS.get(name, 1000) / max(1, train.size // batch_size)))

    say(f"1. Pretraining on {train.size} examples without their labels, {epochs} epochs")
    pretraining_begun = time.monotonic()
    history = pretrain(
        model, train.x, epochs=epochs, batch_size=batch_size, save_to=path, seed=seed, verbose=verbose
    )
    pretraining_seconds = time.monotonic() - pretraining_begun

    say("\n2. Fine-tuning the reloaded backbone, and the same architecture from scratch, on the same labels")
    comparison = evaluation.compare(
        path,
        train,
        test,
        labels_per_class=labels_per_class,
        draws=draws,
        policy=policy,
        seed=seed,
        verbose=verbose,
    )
    comparison.details |= {
        "data": str(source),
        "objective": objective,
        "backbone": backbone,
        "pretraining_epochs": epochs,
        "pretraining_batch_size": batch_size,
        "pretraining_seconds": pretraining_seconds,
        "pretraining_loss": history.history["loss"],
        "seed": seed,
        "versions": comparison.details["versions"] | weights.describe(path).versions,
        "seconds": time.monotonic() - begun,
    }
    comparison.plot(folder / f"{name}.png")
    comparison.to_json(folder / f"{name}.json")
    say(f"\n{comparison}\n")
    say(f"Backbone  {path}\nPicture   {folder / f'{name}.png'}\nFigures   {folder / f'{name}.json'}")
    say(f"{time.monotonic() - begun:.0f} seconds, {pretraining_seconds:.0f} of them pretraining.")
    return comparison


def _load(source, data_dir, manual_dir, seed):
    """Training and test examples; where the source has no test part, a stratified fifth is held out."""
    options = {"data_dir": data_dir, "manual_dir": manual_dir}
    train = _in_memory(data.load(source, **options), source)
    try:
        test = data.load(source, split="test", **options)
    except ValueError:
        return train.split(0.2, seed=seed)
    return train, _in_memory(test, source)


def _in_memory(part, source):
    if not isinstance(part, data.Examples) or part.y is None:
        raise ValueError(f"The demo needs labelled examples that fit in memory; {source} gives {part!r}.")
    return part


def _objective(name, objective, backbone, shape):
    """Builds both from their names; arguments that are not given suit the data set."""
    build_backbone, arguments = specs.resolve(backbone, backbones)
    if build_backbone is backbones.vit:
        arguments = {**_SMALL_VIT, **arguments}
    model = build_backbone(tuple(int(n) for n in shape), **arguments)
    build, arguments = specs.resolve(objective, objectives)
    if build is objectives.SimCLR:
        view = layers.RandomView(**_VIEWS.get(name, {}))
        arguments = {"augmentation": view, "temperature": 0.5, **arguments}  # 0.5: the paper's for CIFAR-10
    return build(model, **arguments)
