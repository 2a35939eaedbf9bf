"""Choosing devices by name."""

import json
import os
import subprocess
import sys

import keras
import pytest

from tftransfer import placement

COMPUTE = pytest.mark.compute
ON_TENSORFLOW = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute")


@COMPUTE
def test_auto_prints_what_and_why(capsys):
    strategy = placement.strategy("auto")
    line = capsys.readouterr().out
    assert line.startswith("placement: 1 replica on CPU:0 (auto: ") and line.count("\n") == 1
    assert strategy.num_replicas_in_sync == 1
    with strategy.scope():
        assert placement.replicas() == 1
    placement.strategy("auto", verbose=False)
    assert capsys.readouterr().out == ""


@COMPUTE
@pytest.mark.parametrize("name", ["bogus", "cpu:", "cpu:x", "gpu:99", "cpu:99", "", None, 3])
def test_names_that_cannot_be_had(name):
    with pytest.raises(ValueError, match="Received: "):
        placement.strategy(name)


@ON_TENSORFLOW
def test_one_device_is_the_default_strategy():
    import tensorflow as tf

    assert placement.strategy("cpu", verbose=False) is tf.distribute.get_strategy()
    second = placement.strategy("cpu:1", verbose=False)
    assert placement.strategy("cpu:1", verbose=False) is second
    with second.scope():
        assert "CPU:1" in keras.Variable([1.0]).value.device


def test_mirrored_is_made_once(mirrored, capsys):
    assert mirrored.num_replicas_in_sync == 2
    assert placement.strategy("mirrored") is mirrored
    assert "2 replicas on CPU:0, CPU:1 (asked for 'mirrored')" in capsys.readouterr().out
    assert placement.strategy(mirrored) is mirrored
    with mirrored.scope():
        assert placement.replicas() == 2
        assert placement.strategy("auto", verbose=False) is mirrored
        with pytest.raises(ValueError, match="inside the scope"):
            placement.strategy("cpu")


def test_a_second_mirrored_strategy_is_warned_about(mirrored):
    import tensorflow as tf

    with pytest.warns(UserWarning, match="second strategy over CPU:0, CPU:1"):
        placement.strategy(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), verbose=False)


@ON_TENSORFLOW
@pytest.mark.parametrize(
    ("name", "message"), [("multi_worker", "TF_CONFIG"), ("tpu", "found no TPU"), ("gpu", "gpu:0")]
)
def test_what_this_machine_has_not(name, message, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match=message):
        placement.strategy(name)


def cluster(workers=2, kind="worker", index=0, **parts):
    addresses = [f"127.0.0.1:{12345 + i}" for i in range(workers)]
    return json.dumps({"cluster": {"worker": addresses, **parts}, "task": {"type": kind, "index": index}})


@ON_TENSORFLOW
@pytest.mark.parametrize(
    "config", ["{", "[]", '{"cluster": 3}', cluster(ps=["a:1"]), cluster(kind="evaluator"), cluster(index=2)]
)
def test_broken_tf_config(config, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ValueError, match="TF_CONFIG"):
        placement.strategy("auto")


@ON_TENSORFLOW
def test_workers_must_be_connected_first(monkeypatch):
    keras.ops.ones(1)
    monkeypatch.setenv("TF_CONFIG", cluster())
    with pytest.raises(ValueError, match=r"worker 0 .* first in the program"):
        placement.strategy("auto", timeout_s=0.5)


@ON_TENSORFLOW
@pytest.mark.parametrize("config", ["", "{}", cluster(workers=1)])
def test_one_worker_is_this_machine(config, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    assert placement.strategy("auto", verbose=False).num_replicas_in_sync == 1


def test_jax_needs_no_tensorflow():
    pytest.importorskip("jax")
    program = (
        "import sys, tftransfer as tt; s = tt.placement.strategy('auto', verbose=False); tt.placement.PlacedModel; "
        "sys.exit('tensorflow' in sys.modules or s.num_replicas_in_sync != 1)"
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax", "XLA_FLAGS": ""}
    assert subprocess.run([sys.executable, "-c", program], env=environment, timeout=120).returncode == 0
