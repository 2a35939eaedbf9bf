"""The arithmetic of scaling, against numbers worked out by hand."""

import pytest

from tftransfer import backbones, placement
from tftransfer.placement.scaling import LINKS

pytestmark = pytest.mark.compute


def test_by_hand(capsys):
    link = placement.Link(1e9, 1e-3, "made up")
    (one,) = placement.scaling(0.5, 1e8, cases={"four": (4, link)})
    assert one.communication_s == pytest.approx(2 * 3 / 4 * 0.1 + 6e-3)  # 0.156
    assert one.efficiency == pytest.approx(0.5 / 0.656)
    assert one.efficiency_overlapped == 1
    assert one.speedup == pytest.approx(4 * 0.5 / 0.656)
    assert one.stops_at == 4  # 0.5 / 4 = 0.125 s of computing against 0.156; at 3, 0.167 against 0.137


def test_one_device_sends_nothing():
    (one,) = placement.scaling(0.1, 1e9, cases={"alone": (1, "pcie4")}, verbose=False)
    assert (one.communication_s, one.efficiency, one.speedup) == (0, 1, 1)


def test_small_models_scale_far():
    (one,) = placement.scaling(100.0, 4, cases={"far": (8, "tpu_v5e")}, verbose=False)
    assert one.stops_at > 1000 or one.stops_at is None


def test_the_usual_cases_say_that_they_are_arithmetic(capsys):
    found = placement.scaling(0.2, 4 * 86e6)
    text = capsys.readouterr().out
    assert text.startswith("arithmetic, not measured") and len(text.splitlines()) == len(found) + 1
    names = " ".join(one.name for one in found)
    assert all(word in names for word in ("8 GPUs", "8 hosts", "TPU v5e-8"))
    by_name = {one.name: one for one in found}
    assert by_name["8 hosts × 1 GPU (100 Gb/s)"].efficiency < by_name["TPU v5e-8"].efficiency
    assert all(link.source for link in LINKS.values())


def test_gradient_bytes():
    model = backbones.mlp((4,), units=(3, 2))
    assert placement.gradient_bytes(model) == 4 * (4 * 3 + 3 + 3 * 2 + 2)
    next(layer for layer in model.layers if layer.weights).trainable = False
    assert placement.gradient_bytes(model, dtype="bfloat16") == 2 * (3 * 2 + 2)


@pytest.mark.parametrize(
    "arguments",
    [
        {"step_s": 0, "gradient_bytes": 1},
        {"step_s": 1, "gradient_bytes": -1},
        {"step_s": 1, "gradient_bytes": 1, "cases": {"a": (2, "carrier pigeon")}},
        {"step_s": 1, "gradient_bytes": 1, "cases": {"a": (0, "pcie4")}},
    ],
)
def test_mistakes(arguments):
    with pytest.raises(ValueError, match="Received"):
        placement.scaling(**arguments)
