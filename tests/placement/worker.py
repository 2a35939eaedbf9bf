"""One worker of the two-process test: `python worker.py FOLDER STEPS`, placed by TF_CONFIG (or alone, without)."""

import json
import os
import sys
import zlib

import numpy as np

from tftransfer import placement

strategy = placement.strategy("auto")  # first, before TensorFlow does anything else

import keras  # noqa: E402
from keras import layers, ops  # noqa: E402


class Network(placement.PlacedModel):
    """What workers get wrong: batch statistics, noise per example, rows compared over the global batch, scaling."""

    def __init__(self):
        super().__init__()
        normal = layers.BatchNormalization(momentum=0.9)
        self.body = keras.Sequential([layers.Dense(8, "relu"), normal, layers.Dense(4)])
        self.seed = keras.random.SeedGenerator(5)
        self.seen = self.add_weight(shape=(60,), initializer="zeros", trainable=False, name="seen")

    def build(self, input_shape):
        self.body.build((None, 6))

    def call(self, x, training=False):
        x = x["table"]
        features = x[:, :6]
        if training:
            features += 0.1 * placement.per_example(
                lambda rows: keras.random.normal((rows, 6), seed=self.seed), ops.shape(x)[0]
            )
            number = placement.all_gather(ops.cast(x[:, 6], "int32"))
            self.seen.assign(self.seen + ops.sum(ops.one_hot(number, 60), axis=0))
        return self.body(features, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        everyone = placement.all_gather(y_pred)
        similar = ops.matmul(y_pred, ops.transpose(everyone))  # (rows, global rows)
        spread = self.scale_loss(1e-2 * ops.mean(ops.mean(ops.square(similar), axis=1)))
        return spread + super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)


def main(folder, steps):
    random = np.random.default_rng(0)
    x, y = random.standard_normal((60, 6), "float32"), random.integers(0, 4, 60)
    x = np.concatenate([x, np.arange(60, dtype="float32")[:, None]], axis=1)  # the last column: its number
    v, w = x[:21], y[:21]
    keras.utils.set_random_seed(1)
    with strategy.scope():
        model = Network()
    model.compile(
        "adam",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=steps,
    )
    history = model.fit(
        {"table": x}, y, batch_size=16, epochs=2, shuffle=False, verbose=0, validation_data=({"table": v}, w)
    ).history
    predicted = model.predict({"table": v}, batch_size=16, verbose=0)
    index = json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {}).get("index", "alone")
    weights = model.get_weights()
    np.savez(f"{folder}/{index}.npz", *weights)
    result = {
        "replicas": strategy.num_replicas_in_sync,
        "checksum": zlib.crc32(b"".join(w.tobytes() for w in weights)),
        "seen": np.asarray(model.seen).tolist(),
        "history": {k: [float(x) for x in v] for k, v in history.items()},
        "predicted": predicted.tolist(),
    }
    with open(f"{folder}/{index}.json", "w") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
