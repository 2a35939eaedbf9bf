"""Which policy when: every fine-tuning policy on three real transfers, at several label budgets, over seeds.

    python benchmarks/finetuning.py --data FOLDER --out benchmarks/results

A backbone (`cnn`) is pretrained once per transfer, without labels (SimCLR); then every policy fine-tunes it on the
same draws of labels, with its own default rates, for the same number of optimizer steps; the control is the same
architecture from scratch, at the best of four rates on development examples (and, beside it, the pretrained one at the
best of the same rates). Test examples are scored once, at the end. Every fit is a line of a `.jsonl`, so that an
interrupted run goes on where it stopped; `finetuning.md` is the table. Of Fashion-MNIST the first 12,000 training
pictures are the labelled part, so that "all" takes minutes.
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
from tftransfer.finetuning.heads import renew_head

P = tt.policies
BATCH, BATCH_OF_ALL = 32, 128
CHOSEN_ON = {"all": 1}  # draws that scratch's rate is chosen on; 3 of few labels
DEVELOPMENT = 2000  # examples that it is chosen by, at most
RATES = (1e-3, 3e-3, 1e-2, 3e-2)


def chain(head, body):
    """Half of the epochs for the head alone, half for what follows."""
    return lambda epochs: head(max(1, epochs // 2)) + body(epochs - max(1, epochs // 2))


POLICIES = {
    "linear_probe": P.linear_probe,
    "full": P.full,
    "linear_probe + full": chain(P.linear_probe, P.full),
    "gradual": lambda epochs: P.gradual(4, epochs=max(1, epochs // 4)),
    "layer_decay": lambda epochs: P.layer_decay(epochs=epochs),
    "linear_probe + layer_decay": chain(P.linear_probe, lambda n: P.layer_decay(epochs=n)),
    "discriminative": lambda epochs: P.discriminative(epochs=epochs),
    "bitfit": P.bitfit,
    "norm_only": P.norm_only,
    "lora": lambda epochs: P.lora(epochs=epochs),
    "adapters": lambda epochs: P.adapters(epochs=epochs),
    "linear_probe + surgical": chain(P.linear_probe, lambda n: P.surgical(epochs=n)),
    "l2_sp": lambda epochs: P.l2_sp(epochs=epochs),
    "fastai": lambda epochs: P.fastai(
        max(1, epochs - max(1, epochs // 10)), freeze_epochs=max(1, epochs // 10)
    ),
}

BEST = "full at its best rate"  # chosen as the control's is: what pretraining is worth where labels are many


def transfers(root):
    """name → (pretraining pictures, labelled, test, view of a pretraining picture)."""
    view = {"crop_scale": (0.3, 1.0)}

    def mnist_to_fashion():
        pretraining = real_data.idx(root, "mnist", "train").x
        labelled, test = (real_data.idx(root, "fashion_mnist", split) for split in ("train", "test"))
        labelled = type(labelled)(labelled.x[:12_000], labelled.y[:12_000], name=labelled.name)
        return pretraining, labelled, test, {**view, "flip": False}

    def cifar_to_other_classes():
        train, test = (real_data.zipped(root, "cifar10_jpg", split) for split in ("train", "test"))
        pretraining = real_data.only(train, range(5)).x
        return pretraining, *(real_data.only(part, range(5, 10)) for part in (train, test)), view

    def cifar_to_clothing():
        pretraining = real_data.zipped(root, "cifar10_jpg", "train").x
        return pretraining, *(real_data.zipped(root, "clothing_small", s) for s in ("train", "test")), view

    def clothing_to_itself():
        train, test = (real_data.zipped(root, "clothing_small", split) for split in ("train", "test"))
        return train.x, train, test, view

    return {
        "mnist → fashion_mnist": mnist_to_fashion,
        "cifar10: five classes → the other five": cifar_to_other_classes,
        "cifar10 → clothing_small": cifar_to_clothing,
        "clothing_small → its own labels": clothing_to_itself,
    }


def pretrained(path, pictures, view, steps, seed):
    """Pretrains the backbone of a transfer, unless its file is there."""
    if path.exists():
        return
    keras.utils.set_random_seed(seed)
    backbone = tt.backbones.cnn(pictures.shape[1:])
    objective = tt.objectives.SimCLR(backbone, augmentation=tt.layers.RandomView(**view), temperature=0.5)
    epochs = max(1, round(steps / (len(pictures) // 256)))
    tt.pretrain(objective, pictures, epochs=epochs, batch_size=256, save_to=path, seed=seed, verbose=2)


class Bench:
    """One transfer: its data, its pretrained file, and the lines that are done."""

    def __init__(self, name, data, path, file, options):
        self.name, self.path, self.file, self.options = name, path, file, options
        _, labelled, self.test, _ = data
        self.pool, development = labelled.split(0.2, seed=0)
        self.development = type(development)(development.x[:DEVELOPMENT], development.y[:DEVELOPMENT])
        self.classes = int(self.pool.y.max()) + 1
        lines = file.read_text().splitlines() if file.exists() else []
        self.done = [json.loads(line) for line in lines]
        self.tasks = {}

    def draw(self, labels, seed):
        return self.pool if labels == "all" else self.pool.few(int(labels), seed=seed)

    def batch_and_epochs(self, labels, examples):
        """The batch, and epochs that make the planned number of steps; at least four, a stage of each chain."""
        batch, steps = (BATCH_OF_ALL if labels == "all" else BATCH), self.options.steps[labels == "all"]
        return batch, max(4, round(steps / -(-examples.size // batch)))

    def task(self, policy, fresh, seed):
        """A task as new; the same object again where the policy adds nothing to it, so that it stays traced."""
        keras.utils.set_random_seed(seed)
        reusable = all(stage.prepare is None for stage in policy)
        key = "scratch" if fresh else "pretrained"
        if key not in self.tasks or not reusable:
            task = tt.tasks.Classifier(str(self.path), num_classes=self.classes)
            if not reusable:
                return task
            self.tasks[key] = task, task.backbone.get_weights()
        task, weights = self.tasks[key]
        new = type(task.backbone).from_config(task.backbone.get_config()).get_weights()
        task.backbone.set_weights(new if fresh else weights)
        renew_head(task)
        return task

    def fit(self, name, policy, labels, seed, *, rate=None, test=True):
        """One fit as a line of the file; its accuracy on the test set or on the development examples."""
        key = {"transfer": self.name, "policy": name, "labels": labels, "seed": seed, "rate": rate}
        for line in self.done:
            if all(line[k] == v for k, v in key.items()) and ("test" if test else "development") in line:
                return line
        examples = self.draw(labels, seed)
        batch, epochs = self.batch_and_epochs(labels, examples)
        policy = policy(epochs)
        task = self.task(policy, name == "scratch", seed)
        begun, cpu = time.perf_counter(), time.process_time()
        history = tt.finetune(task, examples, policy=policy, batch_size=batch, seed=seed, verbose=0)
        line = key | {
            "seconds": time.perf_counter() - begun,
            "cpu_seconds": time.process_time() - cpu,
            "trainable": max(stage["trained"] for stage in history.stages),
            "epochs": len(history.epoch),
            "labelled": examples.size,
        }
        part, scored = ("test", self.test) if test else ("development", self.development)
        line[part] = tt.evaluate(task, scored, verbose=0).metrics["accuracy"]
        with self.file.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.done.append(line)
        print({k: round(v, 4) if isinstance(v, float) else v for k, v in line.items()}, flush=True)
        return line

    def at_best_rate(self, name, labels, seeds):
        """All is tuned, at a rate chosen on development examples, then scored on the test set."""
        reached = {}
        for rate in RATES:
            fits = [
                self.fit(
                    name,
                    lambda n, r=rate: P.full(n, learning_rate=r),
                    labels,
                    seed,
                    rate=rate,
                    test=False,
                )
                for seed in seeds[: CHOSEN_ON.get(labels, 3)]
            ]
            reached[rate] = np.mean([fit["development"] for fit in fits])
        rate = max(reached, key=reached.get)
        for seed in seeds:
            self.fit(name, lambda n: P.full(n, learning_rate=rate), labels, seed, rate=rate)


def summary(lines, labels):
    """Markdown: points of accuracy gained over the control of the same transfer and draw, over all transfers."""
    tested = [line for line in lines if "test" in line]
    control = {
        (line["transfer"], line["labels"], line["seed"]): line["test"]
        for line in tested
        if line["policy"] == "scratch"
    }
    text = ["### Gain over training from scratch, in points, over all transfers and draws", ""]
    text += [
        "| policy | "
        + " | ".join(f"{n} per class" if n != "all" else n for n in labels)
        + " | trained | CPU seconds |"
    ]
    text += ["|---" * (len(labels) + 3) + "|"]
    for policy in [name for name in [*POLICIES, BEST] if any(line["policy"] == name for line in tested)]:
        mine = [line for line in tested if line["policy"] == policy]
        cells = []
        for n in labels:
            gains = [
                100 * (line["test"] - control[key])
                for line in mine
                if line["labels"] == n and (key := (line["transfer"], n, line["seed"])) in control
            ]
            gain = mean_interval(gains) if len(gains) > 1 else None
            cells.append(f"{gain.mean:+.1f} ± {gain.half_width:.1f}" if gain else "")
        share = np.mean([line["trainable"] for line in mine]) / max(line["trainable"] for line in tested)
        seconds = np.mean([line["cpu_seconds"] for line in mine])
        text.append(f"| {policy} | " + " | ".join(cells) + f" | {share:.1%} | {seconds:.1f} |")
    return "\n".join([*text, "", ""])


def table(lines, labels):
    """Markdown: a row per policy, a column per label budget."""
    text = [summary(lines, labels)]
    for transfer in dict.fromkeys(line["transfer"] for line in lines):
        count = max(line["labelled"] for line in lines if line["transfer"] == transfer)
        text += [
            f"### {transfer}",
            "",
            "| policy | " + " | ".join(f"{n} per class" if n != "all" else f"all {count:,}" for n in labels),
        ]
        text[-1] += " | trained parameters | CPU seconds |"
        text.append("|---" * (len(labels) + 3) + "|")
        for policy in dict.fromkeys(line["policy"] for line in lines):
            mine = [
                line
                for line in lines
                if (line["transfer"], line["policy"]) == (transfer, policy) and "test" in line
            ]
            if not mine:
                continue
            cells = []
            for n in labels:
                scores = [line["test"] for line in mine if line["labels"] == n]
                cells.append(str(mean_interval(scores)) if scores else "")
            seconds = np.mean([line["cpu_seconds"] for line in mine])
            text.append(
                f"| {policy} | " + " | ".join(cells) + f" | {mine[0]['trainable']:,} | {seconds:.1f} |"
            )
        text.append("")
    return "\n".join(text)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="folder of the originals; else TFTRANSFER_DATA")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of the results")
    parser.add_argument("--transfers", nargs="*", help="parts of the names of transfers; else all")
    parser.add_argument("--policies", nargs="*", default=list(POLICIES), help="names of policies")
    parser.add_argument("--labels", nargs="*", default=["5", "20", "all"], help="labels per class")
    parser.add_argument("--seeds", type=int, default=5, help="draws of the labels")
    parser.add_argument("--pretraining-steps", type=int, default=1000)
    parser.add_argument(
        "--steps", type=int, nargs=2, default=(200, 300), help="of a fit: on few labels, on all"
    )
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, (name, make) in enumerate(transfers(real_data.folder(options.data)).items()):
        if options.transfers and not any(part in name for part in options.transfers):
            continue
        data = make()
        path = options.out / f"transfer_{number}.weights.h5"
        pretrained(path, data[0], data[3], options.pretraining_steps, seed=0)
        bench = Bench(name, data, path, options.out / f"finetuning_{number}.jsonl", options)
        for labels in options.labels:
            for name in ("scratch", BEST):
                bench.at_best_rate(name, labels, range(options.seeds))
            for policy in options.policies:
                for seed in range(options.seeds):
                    bench.fit(policy, POLICIES[policy], labels, seed)
            lines = [
                line
                for file in options.out.glob("finetuning_*.jsonl")
                for line in map(json.loads, file.open())
            ]
            (options.out / "finetuning.md").write_text(table(lines, ("5", "20", "all")))
    print(table(lines, ("5", "20", "all")))


if __name__ == "__main__":
    main()
