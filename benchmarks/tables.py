"""Does pretraining help on tables? SCARF, VIME and masked columns with 100 labels, against scratch and scikit-learn.

    python benchmarks/tables.py --data FOLDER --out benchmarks/results/tables

Two real tables: adult (is an income above 50,000 dollars?) and california_housing (the median price of a block). Of
each, 2,000 rows are development rows, a fifth of the rest is the test, and the others are pretrained on without labels.
Every arm learns from the same 100 labelled rows, in five draws. What an arm may choose (a learning rate; gradient
boosting and the linear model their settings) it chooses on the development rows; neural arms take the same number of
optimizer steps. Test rows are scored once, at the end. Each run is a JSON file of its own, so that an interrupted
benchmark goes on where it stopped; `tables.md` is made from the files that are there.
"""

import argparse
import json
import time
from pathlib import Path

import keras
import numpy as np
import real_data
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import ParameterGrid
from threadpoolctl import threadpool_limits

import tftransfer as tt

LABELS, DEVELOPMENT, EPOCHS, BATCH = 100, 2000, 60, 25  # 4 steps an epoch, 240 steps a fit
RATES = (1e-4, 3e-4, 1e-3)
SCRATCH_RATES = (1e-5, 3e-5, *RATES, 3e-3)
CHOSEN_ON = 2  # draws that a rate is chosen on
ADULT = (
    "age workclass fnlwgt education education_num marital_status occupation relationship race sex".split()
    + ("capital_gain capital_loss hours_per_week native_country income".split())
)
SETS = {
    "adult": (
        lambda root: tt.data.load_csv(root / "adult/adult.data", names=ADULT, label="income"),
        "ROC AUC",
    ),
    "california_housing": (
        lambda root: tt.data.load_csv(root / "california_housing/housing.csv", label="median_house_value"),
        "R²",
    ),
}
PRETRAINED = {  # arm → (backbone, objective, epochs of pretraining)
    "SCARF, mlp": ("mlp", lambda backbone: tt.objectives.SCARF(backbone), 20),
    "VIME, mlp": ("mlp", lambda backbone: tt.objectives.VIME(backbone), 20),
    "masked columns, transformer": (
        "transformer",
        lambda backbone: tt.objectives.MaskedAutoencoder(backbone, mask_ratio=0.5, decoder_depth=1),
        10,
    ),
}
SCRATCH = {"scratch, mlp": "mlp", "scratch, transformer": "transformer"}
BOOSTING = ParameterGrid(
    {"learning_rate": (0.03, 0.1, 0.3), "min_samples_leaf": (1, 3, 10, 20), "max_leaf_nodes": (4, 16)}
)
LINEAR = ParameterGrid({"strength": (1e-3, 1e-2, 1e-1, 1, 10, 100, 1000)})


def build(kind, preprocessing):
    if kind == "mlp":
        return tt.backbones.mlp(preprocessing, units=(256, 256, 256))
    return tt.backbones.table_transformer(preprocessing, width=48, depth=2, num_heads=4)


class Bench:
    """One table: its encoded parts, and the runs of it that are done."""

    def __init__(self, name, root, out):
        self.name, self.out = name, out
        load, self.metric = SETS[name]
        table = load(root)
        self.classes = len(table.class_names or ())
        by_class = {"stratified": bool(self.classes)}
        table, development = table.split(DEVELOPMENT / table.size, seed=0, **by_class)
        unlabelled, test = table.split(0.2, seed=0, **by_class)
        self.preprocessing = tt.layers.TablePreprocessing().adapt(unlabelled.x)
        parts = (part.map(self.preprocessing.encode) for part in (unlabelled, development, test))
        self.pool, self.development, self.test = parts

    def path(self, arm, draw):
        return self.out / f"{self.name}_{arm.replace(', ', '_').replace(' ', '_')}_{draw}.json"

    def draw(self, seed):
        """100 rows, and for regression the mean and deviation of their targets."""
        rows = np.random.default_rng(seed).permutation(self.pool.size)[:LABELS]
        few = self.pool.take(rows)
        centre = (0.0, 1.0) if self.classes else (few.y.mean(), few.y.std())
        return few, centre

    def score(self, part, predictions):
        return float((roc_auc_score if self.classes else r2_score)(part.y, predictions))

    def run(self, arm, draws, fit, candidates, chosen_on):
        """Chooses a candidate on the development rows, then writes a file for each draw."""
        if all(self.path(arm, draw).exists() for draw in range(draws)):
            return
        begun, cpu, fits = time.perf_counter(), time.process_time(), {}

        def fitted(candidate, draw):
            if (str(candidate), draw) not in fits:
                fits[str(candidate), draw] = fit(candidate, draw)
            return fits[str(candidate), draw]

        reached = {
            str(candidate): float(
                np.mean(
                    [
                        self.score(self.development, fitted(candidate, d)("development"))
                        for d in range(chosen_on)
                    ]
                )
            )
            for candidate in candidates
        }
        chosen = max(candidates, key=lambda candidate: reached[str(candidate)])
        for draw in range(draws):
            test = self.score(self.test, fitted(chosen, draw)("test"))
            line = {"table": self.name, "arm": arm, "draw": draw, "metric": self.metric, "test": test}
            line |= {"chosen": str(chosen), "development": reached, "labels": LABELS}
            self.path(arm, draw).write_text(json.dumps(line, indent=1) + "\n")
        seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - cpu
        print(f"{self.name:20} {arm:30} chose {chosen}: {seconds:.0f} s, {cpu_seconds:.0f} CPU-s", flush=True)

    def neural(self, kind, file):
        """A fit of a task at a rate; None is the head alone, on frozen features."""

        def fit(rate, draw):
            keras.utils.set_random_seed(draw)
            backbone = build(kind, self.preprocessing) if file is None else tt.weights.load_backbone(file)
            few, (mean, deviation) = self.draw(draw)
            few = tt.data.Examples(few.x, few.y if self.classes else (few.y - mean) / deviation)
            task = (
                tt.tasks.Classifier(backbone, num_classes=2) if self.classes else tt.tasks.Regressor(backbone)
            )
            policies = tt.policies
            if file is None:
                policy = policies.full(EPOCHS, learning_rate=rate)
            elif rate is None:
                policy = policies.linear_probe(EPOCHS)
            else:
                policy = policies.linear_probe(EPOCHS // 2) + policies.full(EPOCHS // 2, learning_rate=rate)
            tt.finetune(task, few, policy=policy, batch_size=BATCH, seed=draw, verbose=0)

            def predict(part):
                outputs = task.predict(getattr(self, part).x, batch_size=1024, verbose=0)
                return outputs[:, 1] - outputs[:, 0] if self.classes else outputs[:, 0] * deviation + mean

            return predict

        return fit

    def boosting(self, settings, draw):
        few, _ = self.draw(draw)
        kinds = [not numeric for numeric in self.preprocessing.numeric]
        Model = HistGradientBoostingClassifier if self.classes else HistGradientBoostingRegressor
        with threadpool_limits(1):  # 100 rows: several threads would only wait for each other
            model = Model(categorical_features=kinds, random_state=0, **settings)
            model.fit(self.with_gaps(few.x), few.y)

        def predict(part):
            x = self.with_gaps(getattr(self, part).x)
            with threadpool_limits(1):
                return model.predict_proba(x)[:, 1] if self.classes else model.predict(x)

        return predict

    def with_gaps(self, rows):
        """Encoded rows with NaN where a value is missing, as gradient boosting wants them."""
        gaps = np.where(self.preprocessing.numeric, rows < -500, rows == 0)
        return np.where(gaps, np.nan, rows)

    def linear(self, settings, draw):
        few, _ = self.draw(draw)

        def dense(rows):
            return keras.ops.convert_to_numpy(self.preprocessing(rows))

        strength = settings["strength"]
        model = LogisticRegression(C=1 / strength, max_iter=2000) if self.classes else Ridge(alpha=strength)
        model.fit(dense(few.x), few.y)

        def predict(part):
            x = dense(getattr(self, part).x)
            return model.decision_function(x) if self.classes else model.predict(x)

        return predict

    def pretrained(self, arm):
        """The file of a pretrained backbone, made where it is not there."""
        kind, objective, epochs = PRETRAINED[arm]
        path = self.out / f"{self.name}_{arm.split(',')[0].replace(' ', '_')}.weights.h5"
        if not path.exists():
            keras.utils.set_random_seed(0)
            begun, cpu = time.perf_counter(), time.process_time()
            model = objective(build(kind, self.preprocessing))
            history = tt.pretrain(model, self.pool.x, epochs=epochs, save_to=path, verbose=0)
            loss = history.history["loss"]
            print(
                f"{self.name:20} {arm:30} pretrained, loss {loss[0]:.3f} → {loss[-1]:.3f}: "
                f"{time.perf_counter() - begun:.0f} s, {time.process_time() - cpu:.0f} CPU-s",
                flush=True,
            )
        return path


def table(out):
    """Markdown of all files that are there: the mean over draws and the range."""
    lines = [json.loads(path.read_text()) for path in sorted(out.glob("*.json"))]
    sets = [name for name in SETS if any(line["table"] == name for line in lines)]
    arms = sorted({line["arm"] for line in lines})
    text = ["| 100 labels | " + " | ".join(f"{name}, {SETS[name][1]}" for name in sets) + " |"]
    text.append("|---" * (1 + len(sets)) + "|")
    for arm in arms:
        cells = []
        for name in sets:
            values = [line["test"] for line in lines if (line["table"], line["arm"]) == (name, arm)]
            spread = f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})" if values else ""
            cells.append(spread)
        text.append(f"| {arm} | " + " | ".join(cells) + " |")
    return "\n".join(text) + "\n"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="folder of the originals; else TFTRANSFER_DATA")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/tables"))
    parser.add_argument("--tables", nargs="*", default=list(SETS))
    parser.add_argument("--draws", type=int, default=5, help="draws of the 100 labels")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.tables:
        bench = Bench(name, real_data.folder(options.data), options.out)
        bench.run("HistGradientBoosting", options.draws, bench.boosting, list(BOOSTING), options.draws)
        bench.run("linear", options.draws, bench.linear, list(LINEAR), options.draws)
        for arm, kind in SCRATCH.items():
            bench.run(
                arm, options.draws, bench.neural(kind, None), SCRATCH_RATES, min(CHOSEN_ON, options.draws)
            )
        for arm, (kind, *_) in PRETRAINED.items():
            fit = bench.neural(kind, bench.pretrained(arm))
            bench.run(arm, options.draws, fit, (None, *RATES), min(CHOSEN_ON, options.draws))
        (options.out / "tables.md").write_text(table(options.out))
    print(table(options.out))


if __name__ == "__main__":
    main()
