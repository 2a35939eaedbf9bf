"""Which objective when: every way to pretrain pictures without labels, for the same CPU time, on two real data sets.

    python benchmarks/objectives.py --data FOLDER --out benchmarks/results/objectives

A small ResNet, or a small ViT where the objective hides tokens, is pretrained without labels for a fixed budget of CPU
seconds; its frozen features are probed (k nearest neighbours; ridge regression) with all labels, and it is fine-tuned
on few, against the same architecture from scratch at the best of five rates on development examples, at least as many
steps. `random` and `supervised` (all labels, the same budget) are the ends between which the objectives stand; `views`
is the control with the views of the joint-embedding objectives as augmentation while it is trained on the few labels.
Test examples are scored once, at the end. Every run is a `.json` of its own, so that the table, `objectives.md`, can be
filled run by run; a run whose file is there is not repeated.
"""

import argparse
import json
import time
from pathlib import Path

import keras
import numpy as np
import real_data

import tftransfer as tt
from tftransfer.evaluation.intervals import mean_interval
from tftransfer.evaluation.probes import embed, knn_accuracy, ridge_accuracy

P = tt.policies
BUDGETS = (1, 5, 10, 50)  # labels per class
RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)  # of scratch
PROBED, DEVELOPMENT = 10_000, 2000
TOKENS = ("MaskedAutoencoder", "IJEPA", "NextPatchPrediction")  # need two stages; others by "_vit"
TOKEN_BATCH = 64  # they learn nothing in few steps, and lose nothing in small batches
# They saw altered pictures: BatchNormalization keeps the statistics of pretraining while few labels tune it.
FROZEN = ("RotationPrediction", "SimMIM")
WIDTHS = (16, 32, 64)  # of the residual network
CROPS = {"fashion_mnist": (0.3, 1.0), "cifar10_jpg": (0.2, 1.0)}  # shares of a picture that a view holds
SETTINGS = {  # of small pictures and batches, and for features that are probed
    "SimCLR": {"temperature": 0.5},
    "MoCo": {"temperature": 0.3},
    "BYOL": {"momentum": 0.97},  # the paper's teacher would hardly move in a thousand steps
    "IJEPA": {"momentum": 0.97},
    "DINO": {"momentum": 0.97, "prototypes": 256, "local_views": 2},
    "Autoencoder": {"noise": 0.3, "pooling": "mean"},
    "GAN": {"pooling": "mean", "reconstruction_weight": 100.0},
    "BiGAN": {"pooling": "mean", "penalty_weight": 1.0, "reconstruction_weight": 100.0},
    "VariationalAutoencoder": {"pooling": "mean"},
}


def small_resnet(shape, widths):
    """Three residual blocks behind a stem of stride 2; a plain Keras model, as a user would bring one."""
    layers = keras.layers

    def conv_norm(x, width, stride, size=3):
        x = layers.Conv2D(width, size, stride, padding="same", use_bias=False)(x)
        return layers.BatchNormalization(momentum=0.9)(x)

    pictures = keras.Input(shape)
    x = layers.ReLU()(conv_norm(pictures, widths[0], 2))
    for i, width in enumerate(widths):
        stride = 1 if i == 0 else 2
        y = layers.ReLU()(conv_norm(x, width, stride))
        y = conv_norm(y, width, 1)
        x = x if stride == 1 else conv_norm(x, width, stride, size=1)
        x = layers.ReLU()(layers.Add()([x, y]))
    return keras.Model(pictures, x, name="small_resnet")


def backbone_of(name, shape, widths):
    if on_tokens(name):
        causal = {"causal": True} if name == "NextPatchPrediction" else {}
        return tt.backbones.vit(shape, patch_size=4, width=96, depth=4, num_heads=4, **causal)
    return small_resnet(shape, widths)


def on_tokens(name):
    return name in TOKENS or name.endswith("_vit")


def names():
    """Every objective for pictures."""
    others = {"Objective", "SCARF", "VIME"}  # of tables
    others |= {"CausalLM", "MaskedLM", "ReplacedToken", "SentenceContrast", "SpanDenoising"}  # of texts
    return sorted({*tt.objectives.__all__, "SimMIM_vit"} - others)


def loaded(root, data):
    """`(unlabelled, pool of labels, development, test)`, all real."""
    read = real_data.zipped if data == "cifar10_jpg" else real_data.idx
    train, test = read(root, data, "train"), read(root, data, "test")
    pool, rest = train.split(0.1, seed=0)
    return train.x, pool, type(rest)(rest.x[:DEVELOPMENT], rest.y[:DEVELOPMENT]), test


def view_of(data, least_crop):
    crop = (least_crop, 1.0) if least_crop else CROPS[data]
    return tt.layers.RandomView(crop_scale=crop, **({"flip": False} if data == "fashion_mnist" else {}))


def objective_of(name, backbone, data, least_crop):
    cls, options = getattr(tt.objectives, name.removesuffix("_vit")), dict(SETTINGS.get(name, {}))
    joint = issubclass(cls, tt.objectives.joint_embedding.JointEmbedding)
    if joint and name != "DINO":  # it makes views of several sizes itself
        options["augmentation"] = view_of(data, least_crop)
    return cls(backbone, **options)


def pretrain(name, data, pictures, path, options, seed):
    """Pretrains for the budget; the steps are what a short run on the same pictures says that it buys.

    A further seed takes the epochs of seed 0, so that the two differ by nothing else.
    """
    first, epochs = options.out / f"{data}_{name}_0.json", options.epochs
    if seed and first.exists():
        epochs = json.loads(first.read_text())["epochs"]
    for trial in (False,) if epochs else (True, False):
        keras.utils.set_random_seed(seed)
        backbone = backbone_of(name, pictures.shape[1:], options.widths)
        objective = objective_of(name, backbone, data, options.least_crop)
        batch = min(options.batch_size, TOKEN_BATCH) if on_tokens(name) else options.batch_size
        if trial:
            tt.pretrain(objective, pictures[: 4 * batch], epochs=1, batch_size=batch, verbose=0)  # traces
            begun = time.process_time()
            tt.pretrain(objective, pictures[: 4 * batch], epochs=3, batch_size=batch, verbose=0)
            a_step = (time.process_time() - begun) / 12
            epochs = max(1, round(options.cpu_seconds / a_step / (len(pictures) // batch)))
            continue
        begun = time.process_time()
        history = tt.pretrain(
            objective, pictures, epochs=epochs, batch_size=batch, save_to=path, seed=seed, verbose=2
        )
        spent = time.process_time() - begun
    return {"epochs": epochs, "cpu_seconds": spent, "last_loss": history.history["loss"][-1]}


def probed(backbone, pool, test):
    x, y = pool.x[:PROBED], pool.classes()[:PROBED]
    train, asked = embed(backbone, x), embed(backbone, test.x)
    return {
        "knn": knn_accuracy(train, y, asked, test.y),
        "ridge": ridge_accuracy(train, y, asked, test.y),
    }


def tuned(backbone, few, policy, seed, scored, view=None):
    keras.utils.set_random_seed(seed)
    task = tt.tasks.Classifier(backbone, num_classes=10, augmentation=view)
    tt.finetune(task, few, policy=policy, batch_size=32, seed=seed, verbose=0)
    return tt.evaluate(task, scored, verbose=0).metrics["accuracy"]


def epochs_for(few, steps):
    return max(2, round(steps / -(-few.size // 32)))


def few_labels(name, path, pool, test, options):
    """Accuracy of the pretrained backbone at each budget, over draws of the labels."""
    found, batch_norm = {}, "frozen" if name in FROZEN else "auto"
    for budget in options.labels:
        found[str(budget)] = []
        for seed in range(options.draws):
            few = pool.few(budget, seed=seed)
            n = epochs_for(few, options.steps)
            policy = P.linear_probe(n // 2, init="ridge") + P.full(n - n // 2, batch_norm=batch_norm)
            found[str(budget)].append(tuned(tt.weights.load_backbone(path), few, policy, seed, test))
    return found


def scratch(name, data, pool, development, test, options):
    """The control: its rate chosen on development examples for each budget."""
    found, chosen, shape = {}, {}, pool.x.shape[1:]
    view = view_of(data, options.least_crop) if name.startswith("views") else None
    for budget in options.labels:

        def accuracy(rate, seed, scored, budget=budget):
            few = pool.few(budget, seed=seed)
            keras.utils.set_random_seed(seed)
            policy = P.full(epochs_for(few, options.steps), learning_rate=rate)
            return tuned(backbone_of(name, shape, options.widths), few, policy, seed, scored, view)

        reached = {r: np.mean([accuracy(r, s, development) for s in range(2)]) for r in RATES}
        chosen[str(budget)] = rate = max(reached, key=reached.get)
        found[str(budget)] = [accuracy(rate, seed, test) for seed in range(options.draws)]
    return {"few": found, "rates": chosen}


def supervised(name, shape, pool, test, options):
    """All labels, for the budget of a pretraining."""
    keras.utils.set_random_seed(0)
    task = tt.tasks.Classifier(backbone_of(name, shape, options.widths), num_classes=10)
    tt.finetune(task, pool.few(10, seed=0), policy=P.full(1, learning_rate=1e-3), verbose=0)  # traces
    part = type(pool)(pool.x[:2048], pool.y[:2048])
    begun = time.process_time()
    tt.finetune(task, part, policy=P.full(1, learning_rate=1e-3), batch_size=128, verbose=0)
    bought = options.cpu_seconds / (time.process_time() - begun) * 2048 / pool.size
    epochs = options.epochs or max(1, round(bought))
    task = tt.tasks.Classifier(backbone_of(name, shape, options.widths), num_classes=10)
    tt.finetune(task, pool, policy=P.full(epochs, learning_rate=3e-3), batch_size=128, verbose=2)
    return {"accuracy": tt.evaluate(task, test, verbose=0).metrics["accuracy"], "epochs": epochs}


def run(root, data, name, seed, options):
    """One run, as a file of its own."""
    file = options.out / f"{data}_{name}_{seed}.json"
    if file.exists():
        return
    pictures, pool, development, test = loaded(root, data)
    line = {"data": data, "objective": name, "seed": seed, "budget_cpu_seconds": options.cpu_seconds}
    shape = pictures.shape[1:]
    if name.startswith("supervised"):
        line |= supervised(name, shape, pool, test, options)
    elif name.startswith(("random", "views")):
        keras.utils.set_random_seed(seed)
        line |= {"probes": probed(backbone_of(name, shape, options.widths), pool, test)}
        line |= scratch(name, data, pool, development, test, options)
    else:
        path = options.out / f"{data}_{name}_{seed}.weights.h5"
        line |= pretrain(name, data, pictures, path, options, seed)
        line |= {"probes": probed(tt.weights.load_backbone(path), pool, test)}
        line |= {"few": few_labels(name, path, pool, test, options)}
        path.unlink()
    part = file.with_suffix(".part")
    part.write_text(json.dumps(line, indent=1))
    part.rename(file)
    print(json.dumps(line), flush=True)


def table(folder):
    """Markdown: a row per objective, made from the files that are there."""
    lines = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    budgets = sorted({int(b) for line in lines for b in line.get("few", ())})
    text = []
    for data in dict.fromkeys(line["data"] for line in lines):
        text += [f"### {data}", ""]
        text += [
            "| objective | epochs | CPU s | k-NN | ridge probe | " + " | ".join(map(str, budgets)) + " |"
        ]
        text += ["|---" * (5 + len(budgets)) + "|"]
        for name in dict.fromkeys(line["objective"] for line in lines if line["data"] == data):
            mine = [line for line in lines if (line["data"], line["objective"]) == (data, name)]
            if "accuracy" in mine[0]:
                text.append(
                    f"| {name}, all labels | {mine[0]['epochs']} | | | {mine[0]['accuracy']:.3f} | | | | |"
                )
                continue
            probes = [f"{np.mean([line['probes'][k] for line in mine]):.3f}" for k in ("knn", "ridge")]
            few = [[line["few"][str(b)] for line in mine if str(b) in line["few"]] for b in budgets]
            # Over draws, each the mean of the seeds: those share the draws' luck.
            few = [str(mean_interval(np.mean(seeds, axis=0))) if seeds else "" for seeds in few]
            spent = f"{mine[0].get('epochs', '')} | {mine[0].get('cpu_seconds', 0):.0f}"
            seeds = f" ({len(mine)} seeds)" if len(mine) > 1 else ""
            text.append(f"| {name}{seeds} | {spent} | " + " | ".join(probes + few) + " |")
        text.append("")
    return "\n".join(text)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ends = [f"{end}_{net}" for end in ("random", "views", "supervised") for net in ("resnet", "vit")]
    parser.add_argument("--data", help="folder of the originals; else TFTRANSFER_DATA")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/objectives"))
    parser.add_argument("--sets", nargs="*", default=["fashion_mnist", "cifar10_jpg"])
    parser.add_argument("--objectives", nargs="*", default=[*ends, *names()])
    parser.add_argument("--cpu-seconds", type=float, default=240.0, help="of each pretraining")
    parser.add_argument("--epochs", type=int, help="of each, instead of what those seconds buy")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--labels", type=int, nargs="*", default=BUDGETS, help="per class, of a fine-tuning")
    parser.add_argument(
        "--widths", type=int, nargs=3, default=WIDTHS, help="of the residual network's blocks"
    )
    parser.add_argument("--least-crop", type=float, help="least share of a picture that a view holds")
    parser.add_argument("--steps", type=int, default=200, help="of each fine-tuning on few labels")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0], help="of pretraining")
    parser.add_argument("--draws", type=int, default=5, help="of the labels")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    root = real_data.folder(options.data)
    for seed in options.seeds:
        for name in options.objectives:
            for data in options.sets:
                run(root, data, name, seed, options)
                (options.out / "objectives.md").write_text(table(options.out))
    print(table(options.out))


if __name__ == "__main__":
    main()
