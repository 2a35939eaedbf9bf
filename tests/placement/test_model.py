"""PlacedModel: two replicas give the weights, metrics and predictions of one device."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

from tftransfer import placement


class Network(placement.PlacedModel):
    """A small classifier with what replicas get wrong: batch statistics, a regulariser, `add_loss`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.body = keras.Sequential(
            [
                layers.Dense(12, activation="relu", kernel_regularizer=keras.regularizers.L2(1e-2)),
                layers.BatchNormalization(momentum=0.9),
                layers.Dense(4),
            ]
        )

    def call(self, x, training=False):
        x = x["table"] if isinstance(x, dict) else x
        logits = self.body(x, training=training)  # replicas meet in here, then go on to `add_loss`
        self.add_loss(1e-2 * ops.mean(ops.square(logits)))
        return logits


class Reconstruction(placement.PlacedModel):
    """Overrides `compute_loss` as objectives do."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(6)

    def build(self, input_shape):
        self.dense.build(input_shape)

    def call(self, x):
        return self.dense(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return self.scale_loss(ops.mean(ops.square(y_pred - x)))


def classification(steps_per_execution=1):
    return {
        "loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "metrics": ["accuracy"],
        "steps_per_execution": steps_per_execution,
    }


@pytest.mark.parametrize(("steps", "as_dict"), [(1, False), (2, True)])
def test_fit_evaluate_predict(one_device, mirrored, train, assert_same, examples, steps, as_dict):
    x, y, v, w = examples
    x, v = ({"table": x}, {"table": v}) if as_dict else (x, v)
    models, histories = zip(
        *[
            train(s, Network, x, y, compile_with=lambda: classification(steps), validation_data=(v, w))
            for s in (one_device, mirrored)
        ],
        strict=True,
    )
    assert_same(*models)
    assert histories[0].keys() == histories[1].keys() == {"loss", "accuracy", "val_loss", "val_accuracy"}
    for name in histories[0]:
        np.testing.assert_allclose(histories[0][name], histories[1][name], atol=1e-5)
    one, two = (m.predict(v, batch_size=16, verbose=0) for m in models)
    assert one.shape == (21, 4)
    np.testing.assert_allclose(one, two, atol=1e-5)
    one, two = (m.evaluate(v, w, batch_size=16, verbose=0) for m in models)
    np.testing.assert_allclose(one, two, atol=1e-5)


def test_last_batch_that_leaves_a_replica_with_nothing(one_device, mirrored, train, assert_same, examples):
    x, y = examples[0][:17], examples[1][:17]  # 8+8, 1+0: the second replica computes on no rows at all
    both = [train(s, Network, x, y, compile_with=classification) for s in (one_device, mirrored)]
    assert_same(both[0][0], both[1][0])
    np.testing.assert_allclose(both[0][1]["loss"], both[1][1]["loss"], atol=1e-5)


def test_run_eagerly(one_device, mirrored, train, assert_same, examples):
    def eagerly():
        return {**classification(), "run_eagerly": True}

    both = [train(s, Network, *examples[:2], compile_with=eagerly, epochs=1) for s in (one_device, mirrored)]
    assert_same(both[0][0], both[1][0])
    np.testing.assert_allclose(both[0][1]["loss"], both[1][1]["loss"], atol=1e-5)


def test_overridden_loss_is_divided_by_the_replicas(one_device, mirrored, train, assert_same, examples):
    both = [train(s, Reconstruction, examples[0]) for s in (one_device, mirrored)]
    assert_same(both[0][0], both[1][0])
    np.testing.assert_allclose(both[0][1]["loss"], both[1][1]["loss"], rtol=1e-5)


def test_datasets_with_a_static_batch_and_batch_logs(one_device, mirrored, train, assert_same, examples):
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(examples[:2]).batch(8, drop_remainder=True)
    seen = {}
    for s in (one_device, mirrored):
        logs = []

        def note(batch, logs, into=logs):
            into.append(float(logs["loss"]))

        record = keras.callbacks.LambdaCallback(on_train_batch_end=note)
        options = {"batch_size": None, "compile_with": classification, "callbacks": [record]}
        seen[s] = train(s, Network, data, **options), logs
    (one, logs_one), (two, logs_two) = seen.values()
    assert_same(one[0], two[0])
    assert len(logs_two) == 10
    np.testing.assert_allclose(logs_one, logs_two, atol=1e-5)


def test_train_and_test_on_batch(one_device, mirrored, assert_same, examples):
    x, y, *_ = examples
    models = []
    for s in (one_device, mirrored):
        keras.utils.set_random_seed(1)
        with s.scope():
            model = Network()
        model.compile("sgd", **classification())
        logs = [model.train_on_batch(x, y), model.test_on_batch(x, y)]
        assert np.isfinite(logs).all()
        models.append(model)
    assert_same(*models)


@pytest.mark.parametrize("placed", ["cpu", "mirrored"])
@pytest.mark.parametrize("steps", [1, 2])
def test_no_step_after_the_end_of_data_of_unknown_length(placed, steps, examples, mirrored):
    """Stock Keras counts one update more here for each epoch, and moves every random state on."""
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(examples[0]).batch(15).filter(lambda x: True)
    with placement.strategy(placed, verbose=False).scope():
        model = Reconstruction()
    model.compile("sgd", steps_per_execution=steps)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Your input ran out of data")
        model.fit(data, epochs=3, shuffle=False, verbose=0)
    assert model.optimizer.iterations.numpy() == 3 * 3


def test_two_models_one_after_another(mirrored, train, assert_same, one_device, examples):
    """Pretraining then fine-tuning with another trainable set, under the one cached strategy."""
    results = []
    for s in (one_device, mirrored):
        first, _ = train(s, Network, *examples[:2], compile_with=classification)
        first.body.layers[0].trainable = False
        first.compile("adam", **classification())
        first.fit(*examples[:2], batch_size=16, shuffle=False, verbose=0)
        results.append(first)
    assert_same(*results)


def test_made_outside_the_scope(mirrored, examples):
    x, y, *_ = examples
    with mirrored.scope():
        model = Network()
    model.compile(keras.optimizers.Adam(), **classification())
    with pytest.raises(ValueError, match=r"outside the scope.*adam"):
        model.fit(x, y, verbose=0)
    backbone = keras.Sequential([keras.Input((6,)), layers.Dense(4, name="stray")])
    with mirrored.scope():
        model = Network()
        model.body = backbone
    model.compile("adam", **classification())
    with pytest.raises(ValueError, match="stray/kernel"):
        model.fit(x, y, verbose=0)


def test_named_optimizer_is_made_in_the_scope(mirrored, examples):
    with mirrored.scope():
        model = Reconstruction()
    model.compile("adam")
    model.fit(examples[0], verbose=0)
    assert model.optimizer.iterations.numpy() == 2


def test_saved_model_comes_back_compiled(tmp_path, examples):
    @keras.saving.register_keras_serializable("tests")
    class Saved(Reconstruction):
        pass

    model = Saved()
    model.compile(keras.optimizers.Adam(0.01))
    model.fit(examples[0], verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.compiled and int(again.optimizer.iterations) == int(model.optimizer.iterations)
    again.fit(examples[0], verbose=0)


def test_optimizer_is_built_before_the_first_step_is_traced(examples):
    model = Reconstruction()
    model.build((None, 6))
    model.compile("adam")
    model.make_train_function()
    assert model.optimizer.built


@pytest.mark.compute
def test_one_device_and_jax(examples):
    model = Reconstruction()
    assert float(model.scale_loss(ops.ones(()))) == 1
    with model.scope():
        model.compile("sgd")
    assert model.fit(examples[0], epochs=3, verbose=0).history["loss"][-1] < 4


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.function is TensorFlow's")
@pytest.mark.thorough
def test_models_made_in_a_row_are_not_taken_for_one_that_is_traced_again_and_again(caplog):
    x, y = np.zeros((4, 3), "float32"), np.zeros((4, 4), "float32")
    for _ in range(8):
        model = Network()
        model.compile("sgd", loss="mse")
        model.fit(x, y, verbose=0)
        model.evaluate(x, y, verbose=0)
        model.predict(x, verbose=0)
    assert "retracing" not in caplog.text


def test_one_batch_gives_one_row_an_example(mirrored, one_device):
    found, x = [], np.random.default_rng(0).random((5, 6), "float32")
    for placed in (one_device, mirrored):
        keras.utils.set_random_seed(0)
        with placed.scope():
            found.append(Network().predict_on_batch(x))
    assert found[0].shape == (5, 4)
    np.testing.assert_allclose(*found, atol=1e-6)
