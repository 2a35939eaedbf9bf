"""bfloat16 on a CPU without units for it."""

import keras
import pytest

from tftransfer import backbones, objectives, placement
from tftransfer.placement import precision

pytestmark = pytest.mark.compute


def objective(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return objectives.Autoencoder(backbones.mlp((6,), units=(4,)))
    finally:
        keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16"])
def test_refused_with_a_reason(policy, monkeypatch):
    monkeypatch.setattr(precision, "_has_units", lambda: False)
    with pytest.raises(ValueError, match=rf"(?s){policy}.*25 to 90 times slower.*float32"):
        placement.check_precision(objective(policy))
    placement.check_precision(objective("float32"))


@pytest.mark.parametrize("told", [True, None])
def test_taken_with_units_or_where_the_system_does_not_tell(told, monkeypatch):
    monkeypatch.setattr(precision, "_has_units", lambda: told)
    placement.check_precision(objective("mixed_bfloat16"))


def test_taken_on_an_accelerator(monkeypatch):
    monkeypatch.setattr(precision, "_has_units", lambda: False)
    monkeypatch.setattr(precision, "_on_processors", lambda model: False)
    placement.check_precision(objective("mixed_bfloat16"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor : 0\nflags\t\t: fpu avx2 avx512_bf16 fma\n", True),
        ("flags\t\t: fpu avx2 fma\n", False),
        ("Features\t: fp asimd bf16\n", True),
        ("something else\n", None),
        (None, None),
    ],
)
def test_what_linux_says(text, expected, monkeypatch):
    def read_text(path):
        if text is None:
            raise FileNotFoundError(path)
        return text

    monkeypatch.setattr(precision.Path, "read_text", read_text)
    assert precision._has_units() is expected
