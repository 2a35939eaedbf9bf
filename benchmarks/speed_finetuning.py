"""How fast fine-tuning is beside the ways that people use: Keras's guide, fastai, plain `fit`.

    python benchmarks/speed_finetuning.py [--quick] [--only a,b] [--repeats 3] [--fastai-python PYTHON] [--json FILE]

Every way runs in a process of its own, the ways of a comparison in turn, `--repeats` times; the ratios are taken
within a turn. CPU-seconds (of all threads) are the figure to go by on a machine that others use as well; wall-clock
seconds stand beside them. Pictures are made up, weights random: neither changes the time.

a   10 epochs of a head on a frozen ResNet-50 at 96 pixels, 2,000 pictures, batches of 32, tracing and all: `finetune`,
    the Keras transfer-learning guide (base called with training=False, pooling, dropout 0.2, Dense; its random flips
    left out), and fastai's frozen phase (its BatchNormalization trains on), if `--fastai-python` has fastai. Of the
    slow ways two epochs are run, the first (with tracing) and another, and ten reckoned as first + 9 × other.
b   steps a second of a head on 2,048 features, from the second epoch on: `finetune`, and plain `fit` of an equal head
    on the same features.
c   a linear probe of 50,000 pictures at 32 pixels on a small CNN, 10 epochs, and one `predict` over the same batches.
d   full fine-tuning of a small CNN, 6,400 pictures at 32 pixels, 3 epochs, and `compile` + `fit` of an equal task by
    hand: in one process, in turn, everything traced before; and with tracing, in processes of their own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

SIZES = {  # pictures, epochs (of d: turns)
    "full": {"a": (2000, 10), "b": (2000, 20), "c": (50_000, 10), "d": (6400, 8)},
    "quick": {"a": (256, 10), "b": (1000, 6), "c": (5000, 10), "d": (1280, 4)},
}
BARS = {
    "guide / ours": 8,
    "fastai / ours": 12,
    "plain fit / ours": 5,
    "ours / predict": 1.2,
    "ours / by hand": 1.02,
}


def pictures(count, pixels, classes=10):
    """uint8 pictures whose classes can be told by a pattern of 4 × 4 tiles."""
    import numpy as np

    random = np.random.default_rng(0)
    patterns = random.integers(40, 200, (classes, 4, 4, 3))
    y = np.arange(count) % classes
    x = np.repeat(np.repeat(patterns[y], pixels // 4, 1), pixels // 4, 2)
    return (x + random.integers(-40, 40, x.shape, dtype="int16")).clip(0, 255).astype("uint8"), y.astype(
        "int64"
    )


class Clock:
    """Wall-clock and CPU-seconds since it was made."""

    def __init__(self):
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def read(self):
        return {"wall": time.perf_counter() - self.wall, "cpu": time.process_time() - self.cpu}


def epoch_clock(keras):
    """A callback that reads the clock at the end of each epoch."""

    class EpochClock(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.readings = []

        def on_train_begin(self, logs=None):
            self.clock = Clock()

        def on_epoch_end(self, epoch, logs=None):
            self.readings.append(self.clock.read())

        def later(self):
            """Seconds of an epoch after the first."""
            first, last = self.readings[0], self.readings[-1]
            return {name: (last[name] - first[name]) / (len(self.readings) - 1) for name in first}

    return EpochClock()


def resnet(pixels=96):
    import keras

    keras.utils.set_random_seed(0)
    return keras.applications.ResNet50(weights=None, include_top=False, input_shape=(pixels, pixels, 3))


def a_ours(count, epochs):
    import tftransfer as tt

    x, y = pictures(count, 96)
    task = tt.tasks.Classifier(resnet(), num_classes=10, dropout=0.2)
    clock = Clock()
    history = tt.finetune(task, (x, y), policy=tt.policies.linear_probe(epochs), verbose=0)
    return clock.read() | {"accuracy": history.history["accuracy"][-1]}


def a_guide(count, epochs):
    import keras
    import tensorflow as tf

    x, y = pictures(count, 96)
    base = resnet()
    base.trainable = False
    inputs = keras.Input((96, 96, 3))
    out = base(keras.layers.Rescaling(1 / 255)(inputs), training=False)
    out = keras.layers.Dropout(0.2)(keras.layers.GlobalAveragePooling2D()(out))
    model = keras.Model(inputs, keras.layers.Dense(10)(out))
    watch = epoch_clock(keras)
    start = Clock()
    data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(count).batch(32).prefetch(tf.data.AUTOTUNE)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(), loss, metrics=["accuracy"])
    model.fit(data, epochs=2, callbacks=[watch], verbose=0)
    whole, later = start.read(), watch.later()
    return {name: whole[name] + (epochs - 2) * later[name] for name in whole}


def a_fastai(count, epochs):
    import torch
    from fastai.callback.core import Callback
    from fastai.vision.all import CrossEntropyLossFlat, DataLoaders, accuracy, resnet50, vision_learner

    x, y = pictures(count, 96)
    x = torch.from_numpy(x).permute(0, 3, 1, 2).float().div(255).contiguous()
    dataset = torch.utils.data.TensorDataset(x, torch.from_numpy(y))
    valid = torch.utils.data.Subset(dataset, range(32))
    loaders = DataLoaders.from_dsets(dataset, valid, bs=32, num_workers=0)
    options = {"n_out": 10, "loss_func": CrossEntropyLossFlat(), "metrics": accuracy, "normalize": False}
    learner = vision_learner(loaders, resnet50, pretrained=False, **options)
    learner.freeze()
    readings = []

    class Watch(Callback):
        def after_train(self):
            readings.append(clock.read())

    with learner.no_bar(), learner.no_logging():
        clock = Clock()
        learner.fit_one_cycle(2, cbs=[Watch()])
    first, second = readings
    return {name: first[name] + (epochs - 1) * (second[name] - first[name]) for name in first}


def a_same(count, epochs):
    """What the head ends with, with features computed once and without: two epochs on fewer pictures."""
    import numpy as np

    import tftransfer as tt

    x, y = pictures(128, 96)
    weights, accuracy = [], []
    for cache in ("auto", False):
        task = tt.tasks.Classifier(resnet(), num_classes=10)
        history = tt.finetune(task, (x, y), policy=tt.policies.linear_probe(2), cache=cache, verbose=0)
        weights.append(task.get_weights()), accuracy.append(history.history["accuracy"][-1])
    largest = max(float(np.abs(one - other).max()) for one, other in zip(*weights, strict=True))
    return {"wall": 0.0, "cpu": 0.0, "accuracy": accuracy, "largest_difference_of_weights": largest}


def b_features(count):
    import numpy as np

    random = np.random.default_rng(0)
    y = np.arange(count) % 10
    return (random.normal(size=(10, 2048))[y] + random.normal(0, 3, (count, 2048))).astype("float32"), y


def b_ours(count, epochs):
    import keras

    import tftransfer as tt

    x, y = b_features(count)
    still = keras.Sequential([keras.Input((2048,)), keras.layers.ReLU()])
    task, watch = tt.tasks.Classifier(still, num_classes=10), epoch_clock(keras)
    tt.finetune(task, (x, y), policy=tt.policies.linear_probe(epochs), callbacks=[watch], verbose=0)
    return watch.later() | {"steps": -(-count // 32)}


def b_plain(count, epochs):
    import keras
    import numpy as np

    x, y = b_features(count)
    watch = epoch_clock(keras)
    head = keras.Sequential([keras.Input((2048,)), keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    head.compile(keras.optimizers.Adam(1e-2), loss, metrics=["accuracy"])
    head.fit(np.maximum(x, 0), y, batch_size=32, epochs=epochs, callbacks=[watch], verbose=0)
    return watch.later() | {"steps": -(-count // 32)}


def c_backbone():
    import keras

    import tftransfer as tt

    keras.utils.set_random_seed(0)
    return tt.backbones.cnn((32, 32, 3), filters=(32, 64, 128))


def c_ours(count, epochs):
    import tftransfer as tt

    x, y = pictures(count, 32)
    task = tt.tasks.Classifier(c_backbone(), num_classes=10)
    clock = Clock()
    tt.finetune(task, (x, y), policy=tt.policies.linear_probe(epochs), batch_size=256, verbose=0)
    return clock.read()


def c_predict(count, epochs):
    import tftransfer as tt

    x, _ = pictures(count, 32)
    backbone = c_backbone()
    clock = Clock()
    backbone.predict(tt.data.batches(x, batch_size=256), verbose=0)
    return clock.read()


def d_parts(count):
    import keras

    import tftransfer as tt

    data = pictures(count, 32)
    keras.utils.set_random_seed(0)
    task = tt.tasks.Classifier(c_backbone(), num_classes=10)
    steps, epochs = -(-count // 64), 3

    def by_hand():
        rate = keras.optimizers.schedules.CosineDecay(1e-3, epochs * steps)
        task.compile(keras.optimizers.Adam(rate), task.default_loss(), metrics=task.default_metrics())
        run_by_hand()

    def run_by_hand():
        batches = tt.data.batches(data, batch_size=64, shuffle=True, repeat=True)
        task.fit(batches, steps_per_epoch=steps, epochs=epochs, shuffle=False, verbose=0)

    def ours():
        tt.finetune(task, data, policy=tt.policies.full(epochs, learning_rate=1e-3), batch_size=64, verbose=0)

    return by_hand, run_by_hand, ours


def d_ours(count, epochs):
    *_, ours = d_parts(count)
    clock = Clock()
    ours()
    return clock.read()


def d_hand(count, epochs):
    by_hand, *_ = d_parts(count)
    clock = Clock()
    by_hand()
    return clock.read()


def d_turns(count, epochs):
    """Both in turn, each on a task of its own, everything traced before: seconds of each turn."""
    first, again, _ = d_parts(count)
    *_, ours = d_parts(count)
    first(), ours()
    turns = {"by hand": [], "ours": []}
    for turn in range(epochs):
        for name, run in (("by hand", again), ("ours", ours))[:: 1 if turn % 2 else -1]:
            clock = Clock()
            run()
            turns[name].append(clock.read())
    return {"wall": 0.0, "cpu": 0.0, "turns": turns}


COMPARISONS = {  # name -> ways, ratios as (name, numerator, denominator)
    "a": (["a_ours", "a_guide", "a_fastai"], [("guide / ours", 1, 0), ("fastai / ours", 2, 0)]),
    "b": (["b_ours", "b_plain"], [("plain fit / ours", 1, 0)]),
    "c": (["c_ours", "c_predict"], [("ours / predict", 0, 1)]),
    "d": (["d_ours", "d_hand"], [("ours / by hand, with tracing", 0, 1)]),
}


def measure(way, count, epochs, python):
    environment = {
        **os.environ,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "0",
    }
    command = [python, __file__, "--way", way, str(count), str(epochs)]
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{way} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def spread(values):
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def compare(name, sizes, repeats, fastai):
    """Measures a comparison; returns its record and prints its lines."""
    ways, ratios = COMPARISONS[name]
    ways = [way for way in ways if fastai or way != "a_fastai"]
    count, epochs = sizes[name]
    turns = []
    for turn in range(repeats):
        turns.append({})
        for way in ways:
            python = fastai if way == "a_fastai" else sys.executable
            turns[-1][way] = found = measure(way, count, epochs, python)
            print(
                f"  turn {turn + 1}, {way}: {found['cpu']:.3g} CPU-seconds, {found['wall']:.3g} s", flush=True
            )
    record = {"pictures": count, "epochs": epochs, "turns": turns, "ratios": {}}
    for title, above, below in ratios:
        if max(above, below) < len(ways):
            record["ratios"][title] = {
                kind: [turn[ways[above]][kind] / turn[ways[below]][kind] for turn in turns]
                for kind in ("cpu", "wall")
            }
    if name == "a":
        record["same"] = measure("a_same", count, epochs, sys.executable)
    if name == "d":
        both = measure("d_turns", count, epochs, sys.executable)["turns"]
        pairs = list(zip(both["ours"], both["by hand"], strict=True))
        record["ratios"]["ours / by hand"] = {k: [a[k] / b[k] for a, b in pairs] for k in ("cpu", "wall")}
    return record


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer pictures: a look whether it runs")
    parser.add_argument("--only", default="a,b,c,d", help="comparisons, by their letters")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--fastai-python", help="a Python interpreter that has fastai")
    parser.add_argument(
        "--json", default="benchmarks/results/speed_finetuning.json", help="where to write every figure"
    )
    parser.add_argument("--way", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        way, count, epochs = given.way
        print(json.dumps(globals()[way](int(count), int(epochs))))
        return
    sizes = SIZES["quick" if given.quick else "full"]
    found = {name: compare(name, sizes, given.repeats, given.fastai_python) for name in given.only.split(",")}
    print(f"\n{'':34}{'bar':>8}  {'CPU-seconds, ratio':26}{'wall clock, ratio':26}")
    for name, record in found.items():
        for title, ratio in record["ratios"].items():
            sign = "≤" if title.startswith("ours") else "≥"
            bar = f"{sign} {BARS[title]:g}" if title in BARS else ""
            print(f"{name}  {title:31}{bar:>8}  {spread(ratio['cpu']):26}{spread(ratio['wall']):26}")
    if "a" in found:
        same = found["a"]["same"]
        print(
            f"a  accuracy with and without features computed once: {same['accuracy']}; "
            f"largest difference of weights {same['largest_difference_of_weights']:.2g}"
        )
    if given.json:
        with open(given.json, "w", encoding="utf-8") as file:
            json.dump({"sizes": sizes, "bars": BARS, "found": found}, file, indent=2)


if __name__ == "__main__":
    main()
