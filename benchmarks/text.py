"""Does pretraining help on texts? BERT, GPT and LSTM on few labels, entities, translation; against scratch and TF-IDF.

    python benchmarks/text.py --data FOLDER --out benchmarks/results/text

Small backbones are pretrained on wikitext-2 (its validation and test parts) and the sentences of every task's training
part, without labels: BERT by `MaskedLM`, GPT and LSTM by `CausalLM`. Then each is fine-tuned on the same draws of
labels as the control, the same architecture from scratch for the same number of steps. What an arm may choose (a rate;
TF-IDF its C) it chooses on development examples; test examples are scored once, at the end. Every fit is a JSON file of
its own, so that an interrupted benchmark goes on where it stopped; `text.md` is made from the files that are there.

`shakespeare` is another comparison: a character GPT at the budget of nanoGPT's CPU example (4 layers, width 128, rows
of 64, 2,000 steps of 12), of which its README gives a validation loss of 1.88 nats a character.
"""

import argparse
import csv
import gzip
import json
import math
import time
from functools import partial
from pathlib import Path

import keras
import numpy as np
import real_data
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

import tftransfer as tt

LENGTH, VOCABULARY, BATCH, DEVELOPMENT, CHOSEN_ON = 64, 8000, 32, 1000, 2
RATES = (3e-4, 1e-3, 3e-3, 1e-2)
STRENGTHS = (0.1, 1, 10, 100, 1000)  # of the logistic regression, its C
KINDS = {  # backbone → its objective, with what settings, its rate, and its share of the examples a step
    "bert": ("MaskedLM", {"mask_ratio": 0.3}, 1e-3, 1.0),
    "gpt": ("CausalLM", {}, 1e-3, 0.5),  # full rows
    "lstm": ("CausalLM", {}, 3e-3, 0.5),
}


def lines(path):
    opened = gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")
    with opened as file:
        return [line.rstrip("\n") for line in file]


def rows(path, delimiter):
    with path.open(encoding="utf-8", newline="") as file:
        quoting = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
        return list(csv.reader(file, delimiter=delimiter, quoting=quoting))


def examples(texts, labels, names):
    number = {name: i for i, name in enumerate(names)}
    x = np.empty(len(texts), dtype=object)
    x[:] = texts
    return tt.data.Examples(x, np.array([number[label] for label in labels]), class_names=names)


def banking77(root):
    train, test = (rows(root / f"banking77/{part}.csv", ",")[1:] for part in ("train", "test"))
    names = sorted({label for _, label in train})
    return [examples(*zip(*part, strict=True), names) for part in (train, test)]


def sst2(root):
    train, test = (rows(root / f"sst2/{part}.tsv", "\t")[1:] for part in ("train", "test"))
    return [examples(*zip(*part, strict=True), ["0", "1"]) for part in (train, test)]


def ag_news(root):
    all_rows = [
        (f"{title}. {text}", label) for label, title, text in rows(root / "ag_news_test/test.csv", ",")
    ]
    test = all_rows[::5]
    train = [row for i, row in enumerate(all_rows) if i % 5]
    return [examples(*zip(*part, strict=True), ["1", "2", "3", "4"]) for part in (train, test)]


def wnut17(root, part):
    """Words and tags of the sentences of a part."""
    name = {"train": "wnut17train.conll", "dev": "emerging.dev.conll", "test": "emerging.test.annotated"}[
        part
    ]
    sentences = [[]]
    for line in lines(root / "wnut17" / name):
        word, _, tag = line.partition("\t")
        if word.strip():
            sentences[-1].append((word, tag.strip()))
        elif sentences[-1]:
            sentences.append([])
    sentences = [sentence for sentence in sentences if sentence]
    return [[w for w, _ in s] for s in sentences], [[t for _, t in s] for s in sentences]


def multi30k(root, part):
    name = {"train": "train", "dev": "val", "test": "test_2016_flickr"}[part]
    return [lines(root / f"multi30k/{name}.{language}.gz") for language in ("en", "de")]


CLASSES = {  # name → (data, numbers of labels: per class or in all)
    "banking77": (banking77, ("5 per class", "10 per class")),
    "sst2": (sst2, ("100",)),
    "ag_news_test": (ag_news, ("100",)),
}
OTHERS = {"wnut17": "entity F1", "multi30k": "BLEU"}


def corpus(root):
    """Texts without labels: wikitext-2 and every task's training part."""
    found = [text.strip() for part in ("valid", "test") for text in lines(root / f"wikitext2/{part}.txt")]
    for data, _ in CLASSES.values():
        found += data(root)[0].x.tolist()
    found += [" ".join(words) for words in wnut17(root, "train")[0]]
    found += [text for language in multi30k(root, "train") for text in language]
    return [text for text in found if text and not text.startswith("= ")]


def build(kind, tokenization, options):
    sizes = {"width": options.width}
    if kind != "lstm":  # which has two layers: more are hard to train
        sizes |= {"depth": options.depth, "num_heads": max(1, options.width // 32)}
    return getattr(tt.backbones, kind)(tokenization, **sizes)


class Bench:
    """The files that are there, and what makes the missing ones."""

    def __init__(self, root, options):
        self.root, self.out, self.options = root, options.out, options
        self._tokenization = None

    @property
    def tokenization(self):
        if self._tokenization is None:
            path = self.out / "tokenizer.json"
            if not path.exists():
                made = tt.layers.Tokenization(max_length=LENGTH)
                path.write_text(made.adapt(corpus(self.root), vocabulary_size=VOCABULARY).tokenizer)
            self._tokenization = path.read_text()
        return tt.layers.Tokenization(self._tokenization, max_length=LENGTH)

    def pretrained(self, kind):
        """The file of a pretrained backbone, made where it is not there."""
        path = self.out / f"{kind}.weights.h5"
        if path.exists():
            return path
        keras.utils.set_random_seed(0)
        backbone = build(kind, self.tokenization, self.options)
        name, settings, rate, share = KINDS[kind]
        objective = getattr(tt.objectives, name)(backbone, **settings)
        objective.default_learning_rate = rate
        texts, batch = corpus(self.root), round(self.options.pretraining_batch * share)
        data = self.tokenization.pack(texts) if name == "CausalLM" else self.tokenization.encode(texts)
        data = data[np.random.default_rng(0).permutation(len(data))]
        steps = max(1, len(data) // batch)
        epochs = max(1, round(self.options.pretraining_steps / steps))
        if self.options.pretraining_steps < steps:
            data = data[: self.options.pretraining_steps * batch]
        begun, cpu = time.perf_counter(), time.process_time()
        history = tt.pretrain(
            objective, data, epochs=epochs, batch_size=batch, save_to=path, resume=True, verbose=2
        ).history
        self.write(
            f"pretraining_{kind}",
            {"kind": kind, "texts": len(texts), "epochs": epochs, "rows": len(data), "batch": batch}
            | {name: values[-1] for name, values in history.items()}
            | {"seconds": time.perf_counter() - begun, "cpu_seconds": time.process_time() - cpu},
        )
        return path

    def path(self, name):
        return self.out / f"{name.replace(' ', '_').replace(',', '')}.json"

    def write(self, name, line):
        self.path(name).write_text(json.dumps(line, indent=1) + "\n")
        shown = {k: round(v, 4) if isinstance(v, float) else v for k, v in line.items() if k != "development"}
        print(shown, flush=True)

    def run(self, task, arm, candidates, fit, seeds):
        """Chooses a candidate on the development examples of some draws, then writes a file for each draw."""
        names = [f"{task}_{arm}_{seed}" for seed in range(seeds)]
        if all(self.path(name).exists() for name in names):
            return
        fits = {}

        def fitted(candidate, seed):
            if (candidate, seed) not in fits:
                begun, cpu = time.perf_counter(), time.process_time()
                score = fit(candidate, seed)
                times = {"seconds": time.perf_counter() - begun, "cpu_seconds": time.process_time() - cpu}
                fits[candidate, seed] = score, times
            return fits[candidate, seed]

        chosen_on = range(min(CHOSEN_ON, seeds))
        reached = {c: float(np.mean([fitted(c, s)[0]("development") for s in chosen_on])) for c in candidates}
        chosen = max(reached, key=reached.get)
        for seed, name in enumerate(names):
            score, times = fitted(chosen, seed)
            line = {"task": task, "arm": arm, "seed": seed, "test": score("test"), "chosen": str(chosen)}
            self.write(name, line | times | {"development": {str(c): v for c, v in reached.items()}})

    def backbone(self, kind, pretrained):
        if pretrained:
            return tt.weights.load_backbone(self.pretrained(kind))
        return build(kind, self.tokenization, self.options)

    def policy(self, rate, pretrained, examples):
        """The same number of steps for all; a pretrained backbone waits for its head first."""
        epochs = max(4, round(self.options.steps / math.ceil(examples / BATCH)))
        head = max(1, epochs // 4) if pretrained else 0
        full = tt.policies.full(epochs - head, learning_rate=rate)
        return tt.policies.linear_probe(head) + full if head else full

    def classes(self, name, labels):
        """All arms of one data set with so many labels."""
        data, _ = CLASSES[name]
        labelled, test = data(self.root)
        pool, development = labelled.split(DEVELOPMENT / labelled.size, seed=0)
        parts = {"development": development, "test": test}
        task_name = f"{name} {labels}"

        def draw(seed):
            number = int(labels.split()[0])
            per_class = number if "class" in labels else number // len(labelled.class_names)
            return pool.few(per_class, seed=seed)

        def neural(kind, pretrained):
            def fit(rate, seed):
                keras.utils.set_random_seed(seed)
                task = tt.tasks.Classifier(self.backbone(kind, pretrained), len(labelled.class_names))
                few = draw(seed)
                policy = self.policy(rate, pretrained, few.size)
                tt.finetune(task, few, policy=policy, batch_size=BATCH, seed=seed, verbose=0)
                return lambda part: tt.evaluate(task, parts[part], verbose=0).metrics["accuracy"]

            return fit

        def words(strength, seed):
            few = draw(seed)
            vectors = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2)).fit(few.x)
            model = LogisticRegression(C=strength, max_iter=3000).fit(vectors.transform(few.x), few.y)
            return lambda part: float(model.score(vectors.transform(parts[part].x), parts[part].y))

        seeds = self.options.seeds
        self.run(task_name, "TF-IDF", STRENGTHS, words, seeds)
        for kind in self.options.kinds:
            self.run(task_name, f"{kind}, scratch", RATES, neural(kind, False), seeds)
            self.run(task_name, f"{kind}, pretrained", RATES, neural(kind, True), seeds)

    def other(self, name):
        """Entities or translation, on all labels: BERT from scratch and pretrained."""
        read = wnut17 if name == "wnut17" else multi30k
        train, development, test = (read(self.root, part) for part in ("train", "dev", "test"))
        parts = {"development": tuple(development), "test": tuple(test)}
        metric = "f1" if name == "wnut17" else "bleu"
        make = partial(tt.tasks.Seq2Seq, max_target_length=48)
        if name == "wnut17":
            found = {tag for part in (train, development, test) for row in part[1] for tag in row}
            make = partial(tt.tasks.Tagger, tags=sorted(found, key=lambda tag: (tag != "O", tag)))

        train = tuple(part[: self.options.limit] for part in train)

        def fit_of(pretrained):
            def fit(rate, seed):
                keras.utils.set_random_seed(seed)
                task = make(self.backbone("bert", pretrained))
                policy = tt.policies.full(self.options.epochs, learning_rate=rate)
                tt.finetune(task, train, policy=policy, batch_size=BATCH, seed=seed, verbose=0)
                return lambda part: tt.evaluate(task, parts[part], verbose=0).metrics[metric]

            return fit

        for arm in ("scratch", "pretrained"):
            rates = (3e-4, 1e-3)
            seeds = self.options.seeds if name == "wnut17" else 1
            self.run(name, f"bert, {arm}", rates, fit_of(arm == "pretrained"), seeds)

    def shakespeare(self, steps=2000, length=64, batch=12):
        """nanoGPT's small CPU setting; the first nine tenths train, the last validates."""
        text = (self.root / "tiny_shakespeare/input.txt").read_text()
        letters = sorted(set(text))
        number = {letter: i + 1 for i, letter in enumerate(letters)}  # 0 is padding
        ids = np.array([number[letter] for letter in text], "int32")
        train, held = ids[: int(0.9 * len(ids))], ids[int(0.9 * len(ids)) :]
        steps = min(steps, self.options.pretraining_steps)
        for seed in range(min(3, self.options.seeds)):
            if self.path(f"shakespeare_{seed}").exists():
                continue
            keras.utils.set_random_seed(seed)
            sizes = {"width": 128, "depth": 4, "num_heads": 4}
            backbone = tt.backbones.gpt((length + 1,), vocabulary_size=len(letters) + 1, **sizes)
            objective = tt.objectives.CausalLM(backbone)
            begun, cpu = time.perf_counter(), time.process_time()
            starts = np.random.default_rng(seed).integers(0, len(train) - length, steps * batch)
            rows_read = train[starts[:, None] + np.arange(length + 1)]
            tt.pretrain(objective, rows_read, epochs=1, batch_size=batch, seed=seed, verbose=0)
            seconds = {"seconds": time.perf_counter() - begun, "cpu_seconds": time.process_time() - cpu}
            places = np.arange((len(held) - 1) // length)[:, None] * length + np.arange(length + 1)
            nats = [
                float(np.sum(objective.predict_on_batch(held[places[i : i + 256]])["nats"]))
                for i in range(0, len(places), 256)
            ]
            loss = sum(nats) / (len(places) * length)
            line = {"task": "shakespeare", "seed": seed, "steps": steps, "validation_nats": loss}
            self.write(f"shakespeare_{seed}", line | {"bits_per_character": loss / math.log(2), **seconds})


def table(out):
    """Markdown of all files that are there: the mean over draws and the range."""
    found = [
        json.loads(path.read_text()) for path in sorted(out.glob("*.json")) if path.name != "tokenizer.json"
    ]
    fits = [line for line in found if "arm" in line]
    names = list(dict.fromkeys(line["task"] for line in fits))
    arms = list(dict.fromkeys(line["arm"] for line in fits))
    text = ["| arm | " + " | ".join(names) + " |", "|---" * (1 + len(names)) + "|"]
    for arm in arms:
        cells = []
        for name in names:
            values = [line["test"] for line in fits if (line["task"], line["arm"]) == (name, arm)]
            spread = f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})" if values else ""
            cells.append(spread)
        text.append(f"| {arm} | " + " | ".join(cells) + " |")
    text.append("")
    for line in found:
        if "arm" not in line:
            shown = (f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in line.items())
            text.append("- " + ", ".join(shown))
    return "\n".join(text) + "\n"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="folder of the originals; else TFTRANSFER_DATA")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/text"))
    parser.add_argument("--tasks", nargs="*", default=[*CLASSES, *OTHERS, "shakespeare"])
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), help="backbones: bert, gpt, lstm")
    parser.add_argument("--seeds", type=int, default=5, help="draws of the labels")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--pretraining-steps", type=int, default=8000)
    parser.add_argument("--pretraining-batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=300, help="of a fit on few labels")
    parser.add_argument("--epochs", type=int, default=10, help="of entities and translation")
    parser.add_argument("--limit", type=int, help="training examples of entities and translation at most")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(real_data.folder(options.data), options)
    for name in options.tasks:
        if name == "shakespeare":
            bench.shakespeare()
        elif name in OTHERS:
            bench.other(name)
        else:
            for labels in CLASSES[name][1]:
                bench.classes(name, labels)
        (options.out / "text.md").write_text(table(options.out))
    print(table(options.out))


if __name__ == "__main__":
    main()
