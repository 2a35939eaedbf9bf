import pytest

from tftransfer import backbones, objectives, policies
from tftransfer.specs import call_text, policy_text, resolve, resolve_policy


@pytest.mark.parametrize(
    "text", ["masked_autoencoder", "MaskedAutoencoder", "maskedautoencoder", " Masked_AutoEncoder "]
)
def test_any_spelling(text):
    assert resolve(text, objectives) == (objectives.MaskedAutoencoder, {})


def test_arguments_are_plain_values():
    assert resolve("vit(width=64, depth=2, dropout=0.1)", backbones) == (
        backbones.vit,
        {"width": 64, "depth": 2, "dropout": 0.1},
    )
    assert resolve("cnn(filters=(8, 16), name='mine')", backbones)[1] == {"filters": (8, 16), "name": "mine"}
    assert resolve("simclr(temperature=0.2)", objectives) == (objectives.SimCLR, {"temperature": 0.2})


@pytest.mark.parametrize("name", backbones.__all__)
def test_every_backbone_is_found(name):
    assert resolve(name, backbones)[0] is getattr(backbones, name)


@pytest.mark.parametrize(
    "text", ["", "vit(", "vit(64)", "vit(width=open('x'))", "vit(width=w)", "a.b", "3", "vit()()"]
)
def test_what_is_not_understood(text):
    with pytest.raises(ValueError, match="is not understood"):
        resolve(text, backbones)


def test_unknown_names_and_arguments():
    with pytest.raises(ValueError, match=r"no 'vitt'.*there are bert, cnn, .*vit"):
        resolve("vitt", backbones)
    for base in ("objective", "Objective"):
        with pytest.raises(ValueError, match="There is no"):
            resolve(base, objectives)
    for text, module in (
        ("vit(wdth=64)", backbones),
        ("vit(input_shape=(8, 8, 1))", backbones),
        ("vit(**{'width': 3})", backbones),
        ("simclr(temp=1)", objectives),
        ("simclr(backbone=1)", objectives),
    ):
        with pytest.raises(ValueError, match=r"has no argument .* it has "):
            resolve(text, module)


def test_policies_are_chained():
    policy = resolve_policy("linear_probe(epochs=2)+full(epochs=3, learning_rate=1e-4)")
    assert isinstance(policy, policies.Policy)
    assert repr(policy) == repr(policies.linear_probe(epochs=2) + policies.full(epochs=3, learning_rate=1e-4))
    assert repr(resolve_policy("full")) == repr(policies.full())
    three = resolve_policy("full(epochs=1) + linear_probe(epochs=2) + full(epochs=3)")
    assert [stage.epochs for stage in three] == [1, 2, 3]


@pytest.mark.parametrize(
    "text", ["", "full+", "full*2", "full-full", "full(3)", "fll", "full(epoch=3)", "context"]
)
def test_bad_policies(text):
    with pytest.raises(ValueError, match=r"not understood|There is no|has no argument"):
        resolve_policy(text)


def test_policy_text_is_the_python_of_it():
    import tftransfer as tt

    text = "linear_probe(epochs=2)+full(epochs=3)"
    python = policy_text(text)
    assert python == "tt.policies.linear_probe(epochs=2) + tt.policies.full(epochs=3)"
    assert repr(eval(python, {"tt": tt})) == repr(resolve_policy(text))


def test_call_text():
    text = call_text("tt.backbones", backbones.vit, "(8, 8, 1)", width=64, name="a")
    assert text == "tt.backbones.vit((8, 8, 1), width=64, name='a')"
